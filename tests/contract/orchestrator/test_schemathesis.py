"""Schemathesis against the REST face: every operation, valid and invalid data, chains of calls.

Never a 5xx, and every answer is one that the OpenAPI document promises: its status, its media type, its
shape. A longer run: ``--hypothesis-profile=long``.
"""

import asyncio
import json
import sys
from pathlib import Path

from services.orchestrator.api import build_http_app
from tests.fakes.orchestrator import World
from tests.fakes.servers import http_server
from tests.fuzzing import examples
from tests.seeded import RUN_IDS, seed

_CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "allow_header_conformance",
)
_HOOKS = Path(__file__).with_name("schemathesis_hooks.py")
_STUDIES = ("demo", "template", "paper-gemma-2-2b-gdpr")
_SETS = ("ten-commandments", "gdpr-article-5", "instruct", "base")


def _config(assets: tuple[str, ...]) -> str:
    """Values that lead to what is there, mixed with the generated ones."""
    dictionaries = {"runs": RUN_IDS, "assets": assets, "studies": _STUDIES, "sets": _SETS}
    bound = {
        "path.run_id": "runs",
        "path.sha256": "assets",
        "path.study_id": "studies",
        "path.set_id": "sets",
        "body.run_id": "runs",
        "body.run_ids[*]": "runs",
    }
    lines = [f"hooks = {json.dumps(str(_HOOKS))}", "[dictionaries]"]
    lines += [f"{name} = {{ values = {json.dumps(values)} }}" for name, values in dictionaries.items()]
    # One value each of what every operation takes alike: their own tests look closer.
    lines += ["[parameters]", '"header.If-None-Match" = "\\"x\\""', '"header.Idempotency-Key" = "k"']
    lines += [f'"{at}" = {{ dictionary = "{name}", probability = 0.6 }}' for at, name in bound.items()]
    # The thousands of cases that cover a study's schema are the same as those of checkStudy.
    lines += ["[[operations]]", 'include-operation-id = "createRun"', "phases.coverage.enabled = false"]
    return "\n".join(lines)


async def test_rest_schemathesis_finds_no_server_error_and_no_answer_off_the_contract(
    here: World, tmp_path: Path
) -> None:
    assets = await seed(here)
    config = tmp_path / "schemathesis.toml"
    config.write_text(_config(assets))
    async with http_server(build_http_app(here.application)) as url:
        command = [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run"),
            f"{url}/openapi.json",
            *("--checks", ",".join(_CHECKS), "--phases", "examples,coverage,fuzzing,stateful"),
            *("--mode", "all", "--max-examples", str(examples(0.12)), "--request-timeout", "20"),
            *("--continue-on-failure", "--generation-database", "none", "--no-color"),
            *("--suppress-health-check", "all", "--warnings", "off"),
        ]
        fuzz = await asyncio.create_subprocess_exec(
            *command, cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        out, _ = await fuzz.communicate()
        # How many cases there were; pytest -s shows it.
        print(out.decode(errors="replace")[-800:])
        assert fuzz.returncode == 0, out.decode(errors="replace")[-20_000:]
