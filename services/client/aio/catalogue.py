"""Studies, reference sets, prompt sets, assets, rulers and the value space."""

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

from services.client.aio.transport import AsyncTransport
from services.client.models import Asset, PromptSet, ReferenceSet, Ruler, ShippedStudy, ValuesJob
from services.client.settings import asked

_YAML = {"content-type": "application/yaml"}
_BYTES = {"content-type": "application/octet-stream"}
_LINES = {"content-type": "application/x-ndjson"}


class AsyncStudies:
    """``client.studies``."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._http = transport

    async def check(self, study: str) -> dict[str, Any]:
        """A study (YAML or JSON text) with every default filled in; starts nothing. InvalidInputError has the
        ``places`` that are wrong."""
        found: dict[str, Any] = await self._http.json(
            "POST", "/studies/check", content=study.encode(), headers=_YAML, changes=False
        )
        return found

    async def plan(self, study: str, **options: Any) -> dict[str, Any]:
        """What a run of a study (YAML or JSON text) would cost, and what does not fit; starts nothing.

        ``options`` are the other fields of the API's PlanRequest: ``shape`` or ``config`` for the model's
        size, ``device`` or ``device_memory_gib``, ``gpus``, and more.
        """
        asked_for = {name: value for name, value in options.items() if value not in (None, "")}
        found: dict[str, Any] = await self._http.json(
            "POST", "/plans", json={"study": study, **asked_for}, changes=False
        )
        return found

    async def shipped(self) -> list[ShippedStudy]:
        """The studies that valign ships."""
        body = await self._http.json("GET", "/studies/shipped")
        return [ShippedStudy.model_validate(one) for one in body["studies"]]

    async def shipped_text(self, study_id: str) -> str:
        """One of them as its YAML text, which ``runs.create`` takes."""
        return (await self._http.request("GET", f"/studies/shipped/{quote(study_id, safe='')}")).text


class AsyncData:
    """``client.data``: what is packaged."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._http = transport

    async def reference_sets(self) -> list[ReferenceSet]:
        """The packaged reference sets."""
        body = await self._http.json("GET", "/reference-sets")
        return [ReferenceSet.model_validate(one) for one in body["reference_sets"]]

    async def reference_set(self, set_id: str) -> dict[str, Any]:
        """Every field of one."""
        found: dict[str, Any] = await self._http.json("GET", f"/reference-sets/{quote(set_id, safe='')}")
        return found

    async def check_reference_set(self, document: str) -> dict[str, Any]:
        """A reference set of your own (YAML or JSON text), checked."""
        found: dict[str, Any] = await self._http.json(
            "POST", "/reference-sets/check", content=document.encode(), headers=_YAML, changes=False
        )
        return found

    async def diff_reference_sets(self, old: dict[str, str], new: dict[str, str]) -> dict[str, Any]:
        """What changed; each side is one of ``{"id": …}``, ``{"run_id": …}`` and ``{"document": …}``."""
        body = {"old": old, "new": new}
        found: dict[str, Any] = await self._http.json(
            "POST", "/reference-sets/diff", json=body, changes=False
        )
        return found

    async def prompt_sets(self) -> list[PromptSet]:
        """The packaged prompt sets."""
        body = await self._http.json("GET", "/prompt-sets")
        return [PromptSet.model_validate(one) for one in body["prompt_sets"]]

    async def prompt_set(self, set_id: str) -> dict[str, Any]:
        """Every field of one."""
        found: dict[str, Any] = await self._http.json("GET", f"/prompt-sets/{quote(set_id, safe='')}")
        return found


class AsyncAssets:
    """``client.assets``: files that studies name by their sha256, and rulers."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._http = transport

    async def add(self, kind: str, name: str, data: bytes) -> Asset:
        """Check a file by its kind and keep it; the same content again changes nothing."""
        params = {"kind": kind, "name": name}
        body = await self._http.json("POST", "/assets", params=params, content=data, headers=_BYTES)
        return Asset.model_validate(body)

    async def list(self, kind: str = "") -> AsyncIterator[Asset]:
        """What is kept, newest first."""
        token = ""
        while True:
            params = asked({"kind": kind, "page_token": token})
            body = await self._http.json("GET", "/assets", params=params)
            for one in body["assets"]:
                yield Asset.model_validate(one)
            token = body.get("next_page_token", "")
            if not token:
                return

    async def get(self, sha256: str) -> Asset:
        """One asset, without its content."""
        return Asset.model_validate(await self._http.json("GET", f"/assets/{quote(sha256, safe='')}"))

    async def content(self, sha256: str) -> bytes:
        """Its bytes."""
        return (await self._http.request("GET", f"/assets/{quote(sha256, safe='')}/content")).content

    async def freeze_ruler(self, run_id: str, name: str) -> Ruler:
        """Freeze a run as the yardstick of others; again gives the same."""
        body = {"run_id": run_id, "name": name}
        return Ruler.model_validate(await self._http.json("POST", "/rulers", json=body))

    async def rulers(self) -> AsyncIterator[Ruler]:
        """The rulers that studies can name, newest first."""
        token = ""
        while True:
            body = await self._http.json("GET", "/rulers", params=asked({"page_token": token}))
            for one in body["rulers"]:
                yield Ruler.model_validate(one)
            token = body.get("next_page_token", "")
            if not token:
                return


class AsyncValues:
    """``client.values``: the ten values, heads trained on labels, and how well a judge agrees."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._http = transport

    async def get(self) -> dict[str, Any]:
        """The ten values and the questions put to a judge."""
        found: dict[str, Any] = await self._http.json("GET", "/values")
        return found

    async def train_head(self, labels: bytes, name: str = "head", **options: Any) -> ValuesJob:
        """Begin to train a head on a file of labels (JSON Lines)."""
        return await self._begin("/values/heads", labels, {"name": name, **options})

    async def head(self, head_id: str) -> ValuesJob:
        """How far it is."""
        return ValuesJob.model_validate(
            await self._http.json("GET", f"/values/heads/{quote(head_id, safe='')}")
        )

    async def evaluate_judge(self, labels: bytes, name: str = "judge", **options: Any) -> ValuesJob:
        """Begin to measure how well the judge agrees with a file of labels."""
        return await self._begin("/values/evaluations", labels, {"name": name, **options})

    async def evaluation(self, evaluation_id: str) -> ValuesJob:
        """How far that is."""
        path = f"/values/evaluations/{quote(evaluation_id, safe='')}"
        return ValuesJob.model_validate(await self._http.json("GET", path))

    async def _begin(self, path: str, labels: bytes, options: dict[str, Any]) -> ValuesJob:
        body = await self._http.json("POST", path, params=asked(options), content=labels, headers=_LINES)
        return ValuesJob.model_validate(body)
