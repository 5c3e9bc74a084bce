"""Plain averaging of the experts' weights."""

from mergebench import ModelPool, Needs, StateDict, merge_method


@merge_method("average", title="Simple Averaging", paper="arXiv:2203.05482", needs=Needs())
def average(pool: ModelPool) -> StateDict:
    """The mean of the experts, parameter by parameter.

        theta = 1/T sum_t theta_t

    Source: Wortsman et al., "Model soups", uniform soup.
    """
    return pool.map_experts(lambda experts: experts.mean(0))
