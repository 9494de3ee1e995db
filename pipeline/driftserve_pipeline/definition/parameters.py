"""What a single execution may be told."""

from dataclasses import dataclass

from driftserve_pipeline.sdk.expressions import Expression, declare_parameter

NOT_GIVEN = "none"  # SageMaker takes no empty argument


@dataclass(frozen=True)
class Parameters:
    """The parameters of the pipeline; `ImageSize` is the parameter of the field `image_size`."""

    model: Expression
    """Any timm model."""

    batch_size: Expression
    """Images of a step in each process."""

    optimizer: Expression
    """Any of timm's optimizers."""

    learning_rate: Expression
    """The highest, after the warm-up."""

    epochs: Expression
    """Passes over the training images."""

    image_size: Expression
    """Side of the network's input in pixels."""

    augmentation: Expression
    """`none`, `light` or `realistic`."""

    train_location: Expression
    """Where the images are: `kaggle:<owner>/<set>` or an s3:// address."""

    test_location: Expression
    """Where those to test on are; `none`: in the train location."""

    annotation_release: Expression
    """The s3:// address of a release of annotations; `none`: the images' folders are their labels."""

    unusable_images: Expression
    """What to do with images that are corrupt, too small, or there twice: `refuse` them all, or `drop` them."""

    code_revision: Expression
    """The commit that the images are built of; part of the version's provenance."""

    source_digest: Expression
    """SHA-256 of the sources' listing; another one means other images at the same address. `none`: not known."""

    instance_type: Expression
    """The machine that trains."""

    instance_count: Expression
    """How many of them train together."""

    accuracy_threshold: Expression
    """The test accuracy below which nothing is registered."""

    def declared(self, tuning: bool) -> list[Expression]:
        """Those that a pipeline has; where a search chooses, what it chooses cannot be told."""
        searched = (self.model, self.optimizer, self.learning_rate) if tuning else ()
        return [parameter for parameter in vars(self).values() if not any(parameter is left for left in searched)]


def declare_parameters() -> Parameters:
    """The parameters with their defaults; those of the network are the winner's of training's own search."""
    return Parameters(
        model=declare_parameter("Model", "mobilenetv2_100"),
        batch_size=declare_parameter("BatchSize", 32),
        optimizer=declare_parameter("Optimizer", "adamw"),
        learning_rate=declare_parameter("LearningRate", 0.003),
        epochs=declare_parameter("Epochs", 4),
        image_size=declare_parameter("ImageSize", 128),
        augmentation=declare_parameter("Augmentation", "realistic"),
        train_location=declare_parameter("TrainLocation", "kaggle:puneet6060/intel-image-classification"),
        test_location=declare_parameter("TestLocation", NOT_GIVEN),
        annotation_release=declare_parameter("AnnotationRelease", NOT_GIVEN),
        unusable_images=declare_parameter("UnusableImages", "refuse"),
        code_revision=declare_parameter("CodeRevision", "unknown"),
        source_digest=declare_parameter("SourceDigest", NOT_GIVEN),
        instance_type=declare_parameter("InstanceType", "ml.g5.xlarge"),
        instance_count=declare_parameter("InstanceCount", 1),
        accuracy_threshold=declare_parameter("AccuracyThreshold", 0.85),
    )
