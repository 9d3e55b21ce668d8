"""The networks that can be trained and pruned, by their name in `params.yaml`: `model.family`."""

from recprune.model.families.autoint import AutoInt
from recprune.model.families.dcn import DCN
from recprune.model.families.deepfm import DeepFM
from recprune.model.families.dlrm import DLRM
from recprune.model.families.family import Family

FAMILIES: dict[str, Family] = {"dlrm": DLRM(), "dcn": DCN(), "deepfm": DeepFM(), "autoint": AutoInt()}
