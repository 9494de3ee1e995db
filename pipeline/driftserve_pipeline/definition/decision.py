"""The steps Decide, which chooses between registering and refusing, and Refuse, which fails with a reason."""

from driftserve_pipeline.definition.blueprint import Blueprint
from driftserve_pipeline.definition.evaluation import accuracy_of, verdict_of
from driftserve_pipeline.sdk.branching import at_least, condition_step, equals, fail_step
from driftserve_pipeline.sdk.expressions import Step, join


def decide(blueprint: Blueprint, evaluated: Step, accepted: Step, refused: Step) -> Step:
    """Return the step that runs `accepted` if the network is accurate enough and beats the champion, else `refused`."""
    return condition_step(
        "Decide",
        "Accurate enough, and better than the champion?",
        conditions=[
            at_least(accuracy_of(evaluated), blueprint.parameters.accuracy_threshold),
            equals(verdict_of(evaluated, "beats_champion"), 1),
        ],
        accepted=accepted,
        refused=refused,
    )


def refuse(evaluated: Step) -> Step:
    """Return the step that fails the execution with the verdict's reason."""
    return fail_step(
        "Refuse",
        "Say why nothing was registered",
        join("Nothing was registered: ", verdict_of(evaluated, "reason")),
    )
