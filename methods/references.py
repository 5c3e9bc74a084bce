"""The two ends of every comparison: the base as it is, and each expert on its own task."""

from mergebench import ModelPool, Needs, PerTask, StateDict, merge_method


@merge_method("pretrained", title="Pre-trained", needs=Needs(base=True), role="floor")
def pretrained(pool: ModelPool) -> StateDict:
    """The base's weights: what zero-shot classification gives before any fine-tuning.

    theta = theta_0
    """
    return pool.finish(pool.base)


@merge_method("finetuned", title="Fine-tuned experts", needs=Needs(), role="ceiling")
def finetuned(pool: ModelPool) -> PerTask:
    """Each expert on its own task: T models, not one; what every merged model is measured against.

    theta(t) = theta_t
    """
    return PerTask({task: pool.finish(expert) for task, expert in pool.experts.items()})
