"""Whichever bundle serves now: follows the registry's pointer without dropping a request."""

import logging
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from recprune.errors import DamagedArtefactError, RecpruneError
from recprune.files import manifest_digest, read_json
from recprune.serving.scorer import Frame, Scorer
from recprune.serving.signature import PublicKeys

POINTER = Path("registry/current.json")
logger = logging.getLogger(__name__)


class Champion:
    """Scores with the promoted bundle of a workspace, and with the next one as soon as that is promoted.

    The pointer is looked at by a thread of its own. A new bundle is checked and loaded there while the old one
    goes on serving, and a request that has begun ends with the model that it began with. A bundle that cannot be
    loaded changes nothing: `problem` says why, and it is tried again at every look.

    >>> with Champion(Path("demo")) as champion:  # doctest: +SKIP
    ...     champion.score({"user_id": [7], "item_id": [3], "price": [2.5]})

    Args:
        workspace: folder with `registry/` and `bundles/`, or a copy of these two.
        every: seconds from one look at the pointer to the next.
        threads: threads of one call.
        public_key: see `Scorer`.

    Raises:
        DamagedArtefactError: there is no pointer, or what it points to cannot be loaded.
    """

    def __init__(self, workspace: Path, every: float = 5.0, threads: int = 1, public_key: PublicKeys = None) -> None:
        self._workspace, self._every, self._threads, self._key = workspace, every, threads, public_key
        self.problem: str | None = None
        """Why the bundle that the pointer names does not serve; None if it does."""
        self._serving = self._load(self._pointer())
        self._ended = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="recprune champion", daemon=True)
        self._watcher.start()

    @property
    def day(self) -> str:
        """Return the day of the bundle that serves."""
        return self._serving[0]

    def score(self, columns: Mapping[str, Any] | Frame) -> NDArray[np.float32]:
        """Return `p_click` of each row (N,); see `Scorer.score`."""
        return self._serving[2].score(columns)

    def look(self) -> None:
        """Look at the pointer now; if it names another bundle, load that and let it serve."""
        try:
            pointer = self._pointer()
            if (pointer["champion"], pointer["digest"]) != self._serving[:2]:
                self._serving = self._load(pointer)
                logger.info("%s serves", self.day)
            self.problem = None
        except (RecpruneError, OSError) as error:
            if self.problem != str(error):
                logger.warning("%s goes on serving: %s", self.day, error)
            self.problem = str(error)

    def close(self) -> None:
        """Stop looking at the pointer; what serves goes on serving."""
        self._ended.set()
        self._watcher.join()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop looking at the pointer."""
        self.close()

    def _watch(self) -> None:
        while not self._ended.wait(self._every):
            self.look()

    def _pointer(self) -> dict[str, str]:
        file = self._workspace / POINTER
        found = read_json(file)
        try:
            day, digest = str(found["champion"]), str(found["digest"])
        except (KeyError, TypeError) as error:
            raise DamagedArtefactError(f"{file} names no champion ({error!r}); see: recprune doctor") from None
        if Path(day).name != day:
            raise DamagedArtefactError(f"{file} names the champion {day!r}, which is no day; see: recprune doctor")
        return {"champion": day, "digest": digest}

    def _load(self, pointer: dict[str, str]) -> tuple[str, str, Scorer]:
        bundle = self._workspace / "bundles" / pointer["champion"]
        if manifest_digest(bundle) != pointer["digest"]:
            raise DamagedArtefactError(
                f"{bundle} is not the bundle that was promoted: it was rebuilt or replaced, or is still being copied. "
                f"Bring the stored one back with: recprune fetch {pointer['champion']}"
            )
        try:
            scorer = Scorer(bundle, self._threads, self._key)
        except (RecpruneError, OSError):
            raise
        except Exception as error:  # the thread that follows the registry must live to see the next version
            raise DamagedArtefactError(f"{bundle} cannot be loaded: {error!r}") from error
        return pointer["champion"], pointer["digest"], scorer
