"""The long-tail classifier that CBGAN looks through: LDAM-DRW and the losses it is compared with."""

from gan_lt.classifier.network import Classifier
from gan_lt.classifier.recall import RecallReport, recall_report
from gan_lt.classifier.training import ClassifierSettings, measure_classifier, predict, train_classifier

__all__ = [
    "Classifier",
    "ClassifierSettings",
    "RecallReport",
    "measure_classifier",
    "predict",
    "recall_report",
    "train_classifier",
]
