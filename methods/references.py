"""What every comparison is held against: the base, each expert on its own task, one model trained on all tasks."""

from mergebench import ModelPool, Needs, PerTask, StateDict, merge_method


@merge_method("pretrained", title="Pre-trained", needs=Needs(base=True), role="floor", cost="one model; no passes")
def pretrained(pool: ModelPool) -> StateDict:
    """The base's weights: what zero-shot classification gives before any fine-tuning.

    theta = theta_0
    """
    return pool.finish(pool.base)


@merge_method(
    "finetuned", title="Fine-tuned experts", needs=Needs(), role="ceiling", cost="a model at a time; no passes"
)
def finetuned(pool: ModelPool) -> PerTask:
    """Each expert on its own task: T models, not one; what every merged model is measured against.

    theta(t) = theta_t
    """
    return PerTask(pool.finished_experts())


@merge_method(
    "multitask", title="Multi-task learning", needs=Needs(joint=True), role="joint", cost="one model; no passes"
)
def multitask(pool: ModelPool) -> StateDict:
    """One encoder trained on all tasks together, with their labels and data: what merging does without.

        theta = argmin 1/T sum_t E CE(head_t(f_theta(x)), y),   from theta_0

    `mergebench finetune` with several tasks makes it; the zoo keeps it in its folder `joint`.
    """
    return pool.finish(pool.joint)
