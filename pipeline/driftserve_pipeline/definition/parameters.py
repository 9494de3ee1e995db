"""The parameters that each execution can set."""

from dataclasses import dataclass

from driftserve_pipeline.sdk.expressions import Expression, declare_parameter

NOT_GIVEN = "none"  # stands for an empty value, which SageMaker does not accept as an argument


@dataclass(frozen=True)
class Parameters:
    """The parameters of the pipeline. The field `image_size` is the parameter `ImageSize`."""

    model: Expression
    """Any timm model."""

    batch_size: Expression
    """Images per training step in each process."""

    optimizer: Expression
    """Any timm optimizer."""

    learning_rate: Expression
    """Peak learning rate, after the warm-up."""

    epochs: Expression
    """Passes over the training images."""

    image_size: Expression
    """Side length of the network's input, in pixels."""

    augmentation: Expression
    """`none`, `light` or `realistic`."""

    train_location: Expression
    """Location of the images: `kaggle:<owner>/<set>` or an s3:// address."""

    test_location: Expression
    """Location of the test images. `none`: they are in the train location."""

    annotation_release: Expression
    """The s3:// address of an annotation release. `none`: the folders of the images are the labels."""

    unusable_images: Expression
    """What to do if images are corrupt, too small or duplicates: `refuse` the data set, or `drop` these images."""

    code_revision: Expression
    """Commit from which the Docker images were built. It is stored with the registered version."""

    source_digest: Expression
    """SHA-256 of the sources' listing. A new value means new images at the same address. `none`: not known."""

    instance_type: Expression
    """Instance type for training."""

    instance_count: Expression
    """Number of training instances."""

    accuracy_threshold: Expression
    """Lowest test accuracy at which a version is registered."""

    def declared(self, tuning: bool) -> list[Expression]:
        """Return the parameters of a pipeline. With tuning, the three that the search chooses are not among them."""
        searched = (self.model, self.optimizer, self.learning_rate) if tuning else ()
        return [parameter for parameter in vars(self).values() if not any(parameter is left for left in searched)]


def declare_parameters() -> Parameters:
    """Return the parameters. The defaults of the network are those of the best trial in a search."""
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
