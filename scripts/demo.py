"""The demo: measure, realign, swap, measure again and judge, on real models, on this machine.

Starts the services with the small models that `make models` has fetched, a second encoder beside the
first, and runs the shipped study `demo` through the real command line, which prints the verdict with its
reasons. Compares what the base and the tuned model say, leaves report, audit bundle and model card in a
folder, stops everything that it started, whatever happens, and then computes the report's numbers again
from the bundle alone.

A hold or a reject is a result of the demo, not a failure: so small a model rarely earns more.

    python scripts/demo.py [--study NAME_OR_FILE] [--home DIR] [--out DIR] [--models DIR]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

REPO = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPO))  # also without an installed package

from services.cli.api import Api  # noqa: E402
from services.cli.display import duration  # noqa: E402
from services.cli.errors import CliError  # noqa: E402
from services.cli.settings import child_environment  # noqa: E402
from services.cli.up.child import Child, ChildSpec  # noqa: E402
from services.cli.up.home import Home  # noqa: E402
from services.cli.verdict import decision, headline  # noqa: E402

MODEL, ENCODER, SECOND_ENCODER = "SmolLM2-135M-Instruct", "all-mpnet-base-v2", "all-MiniLM-L6-v2"
PROMPT = "State one principle that an AI system should follow."
START_TIMEOUT_S = 600.0
# The services drain for at most 30 s, then valign up kills them.
STOP_TIMEOUT_S = 90.0
API_TIMEOUT_S = 120.0
MAX_HTML_BYTES = 400_000


@dataclass(slots=True)
class Outcome:
    """What was checked. The demo fails if anything did."""

    failed: list[str] = field(default_factory=list)

    def check(self, passed: bool, text: str) -> None:
        """Print and keep one check."""
        print(f"  {'ok  ' if passed else 'FAIL'}  {text}", flush=True)
        if not passed:
            self.failed.append(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; 0 if every check passed."""
    options = _parse(arguments)
    begun_s = time.monotonic()
    signal.signal(signal.SIGTERM, _exit)
    os.chdir(REPO)
    outcome = Outcome()
    home = Home(options.home)
    try:
        models = _models(options.models)
        _prepare(home)
        services = _start(home, *models)
        try:
            state = _wait_until_serving(home, services)
            print(f"serving after {duration(time.monotonic() - begun_s)}: API at {state['url']}", flush=True)
            report = _run(options.study, state["url"], options.out)
            _check_report(report, options.out, outcome)
            bundle = _keep(report, state["url"], options.out, outcome)
            asyncio.run(_check_served_text(state["services"]["generator"]["address"], report, outcome))
        finally:
            _stop(home, services, outcome)
        _verify(bundle, outcome)
    except CliError as error:
        print(f"demo: {error.message}\n{error.remedy}".rstrip(), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("demo: interrupted; everything that it started is stopped.", file=sys.stderr)
        return 130
    print(f"\n{_result(report)}")
    print(f"\nReport: {options.out / 'report.html'} (open it in a browser) and {options.out / 'report.json'}")
    print(f"Bundle: {bundle} (check it: valign verify)")
    print(f"Card:   {options.out / 'model-card.md'}")
    print(f"Logs:   {home.logs}")
    print(f"Time:   {duration(time.monotonic() - begun_s)}")
    if outcome.failed:
        print(f"\nThe demo FAILED: {'; '.join(outcome.failed)}", file=sys.stderr)
        return 1
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--study", default="demo", help="shipped study or file (default: demo)")
    parser.add_argument(
        "--home", type=Path, default=REPO / ".valign-demo", help="database, artifacts, logs; made anew"
    )
    parser.add_argument("--out", type=Path, default=REPO / "demo-report", help="folder for the report")
    parser.add_argument("--models", type=Path, default=None, help="folder of the fetched models")
    options = parser.parse_args(arguments)
    for name in ("home", "out"):
        setattr(options, name, getattr(options, name).resolve())
    return options


def _exit(*_: object) -> NoReturn:
    raise SystemExit(143)


def _models(folder: Path | None) -> tuple[Path, Path, Path]:
    if folder is None:
        from fetch_models import CACHE_VARIABLE, DEFAULT_CACHE  # its neighbour in this folder

        folder = Path(os.environ.get(CACHE_VARIABLE) or DEFAULT_CACHE).resolve()
    found = (folder / MODEL, folder / ENCODER, folder / SECOND_ENCODER)
    for model in found:
        if not (model / "config.json").is_file():
            raise CliError(f"The model {model} is missing.", remedy="Fetch it: make models")
    return found


def _prepare(home: Home) -> None:
    # A run that an interrupted demo left behind would go on beside the new one: begin anew.
    holder = home.holder_pid()
    if holder is not None:
        raise CliError(f"A demo (pid {holder}) already runs in {home.path}.")
    if home.state_file.exists() or home.logs.exists():
        shutil.rmtree(home.path)
    elif home.path.exists() and any(home.path.iterdir()):
        raise CliError(f"{home.path} holds something that is not a demo's; it is left alone.")


def _start(home: Home, model: Path, encoder: Path, second_encoder: Path) -> Child:
    command = [*_valign(), "up", "--home", str(home.path), "--any-ports"]
    command += ["--model", str(model), "--encoder", str(encoder), "--second-encoder", str(second_encoder)]
    # The study's rank. On a CPU the engine computes with as many columns as its largest rank has.
    command += ["--max-lora-rank", "16"]
    # Nothing here may look at a model hub: the models lie on this disk.
    offline = {"HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}
    services = Child(ChildSpec("valign up", command, child_environment(offline), home.logs / "up.log"))
    print("starting generator, two embedders, trainer and orchestrator ...", flush=True)
    services.start()
    return services


def _valign() -> list[str]:
    return [sys.executable, "-m", "services.cli"]


def _wait_until_serving(home: Home, services: Child) -> dict[str, Any]:
    deadline_s = time.monotonic() + START_TIMEOUT_S
    shown: dict[str, str] = {}
    while time.monotonic() < deadline_s:
        if services.exit_status() is not None:
            raise CliError(
                f"The services did not start:\n{services.log_tail(40)}", remedy=f"Logs: {home.logs}"
            )
        state = home.read_state() or {"status": "", "services": {}}
        for name, one in state["services"].items():
            if shown.get(name) != one["state"]:
                shown[name] = one["state"]
                print(f"  {name}: {one['state']}", flush=True)
        if state["status"] == "serving":
            return state
        time.sleep(0.5)
    raise CliError(f"The services do not serve after {START_TIMEOUT_S:.0f} s.", remedy=f"Logs: {home.logs}")


def _run(study: str, url: str, out: Path) -> dict[str, Any]:
    done = subprocess.run([*_valign(), "run", study, "--url", url], check=False)  # noqa: S603 - our own command
    if done.returncode != 0:
        raise CliError(f"valign run ended with status {done.returncode}.")
    out.mkdir(parents=True, exist_ok=True)
    command = [*_valign(), "report", "latest", "--url", url, "--html", str(out / "report.html"), "--json"]
    printed = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own
    if printed.returncode != 0:
        raise CliError("The report could not be fetched.")
    (out / "report.json").write_text(printed.stdout, encoding="utf-8")
    report: dict[str, Any] = json.loads(printed.stdout)
    return report


def _check_report(report: dict[str, Any], out: Path, outcome: Outcome) -> None:
    print("\nchecks", flush=True)
    trained = [one for one in report["iterations"] if one["iteration"] > 0]
    outcome.check(
        len(trained) > 0,
        f"{len(trained)} iterations trained an adapter; the best: {report['best_iteration']}",
    )
    complete = all(
        topic[name] is not None
        for topic in report["topics"]
        for name in ("before", "base_p3", "after", "constant")
    )
    outcome.check(complete, f"each of {len(report['topics'])} topics has its four numbers")
    analysis = report.get("analysis") or {"guards": [], "arms": []}
    outcome.check(
        decision(report) != "",
        f"the run ends in a verdict, from {len(analysis['arms'])} arms and {len(analysis['guards'])} guards",
    )
    size_bytes = (out / "report.html").stat().st_size
    outcome.check(0 < size_bytes < MAX_HTML_BYTES, f"report.html is {size_bytes / 1000:.0f} kB")
    for load in (report.get("swap") or {}).get("loads", []):
        outcome.check(
            load["max_relative_error"] <= load["tolerance"] and load["mean_shift_nats"] > 0,
            f"swap of iteration {load['iteration']} proven in {load['duration_s']:.2f} s: "
            f"{load['canaries']} canaries, "
            f"{load['max_relative_error']:.2%} off the trainer's (at most {load['tolerance']:.0%}), "
            f"{load['mean_shift_nats']:.1f} nats off the base",
        )


def _keep(report: dict[str, Any], url: str, out: Path, outcome: Outcome) -> Path:
    """Fetch the audit bundle and the model card."""
    bundle = out / "bundle.zip"
    command = [*_valign(), "bundle", report["run_id"], "--url", url, "--output", str(bundle), "--json"]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own
    if done.returncode != 0:
        raise CliError("The audit bundle could not be fetched.")
    size_bytes = json.loads(done.stdout)["size_bytes"]
    outcome.check(size_bytes > 0, f"audit bundle of {size_bytes / 1e6:.1f} MB with everything it rests on")
    with Api(url, API_TIMEOUT_S) as api:
        card = api.get_text(f"/runs/{report['run_id']}/model-card")
    (out / "model-card.md").write_text(card, encoding="utf-8")
    return bundle


def _verify(bundle: Path, outcome: Outcome) -> None:
    """With no service running: the bundle's numbers come out again, and a changed bundle is found out."""
    print("checking the audit bundle, without any service ...", flush=True)
    begun_s = time.monotonic()
    done = subprocess.run(  # noqa: S603 - our own command
        [*_valign(), "verify", str(bundle), "--json"], check=False, stdout=subprocess.PIPE, text=True
    )
    took = duration(time.monotonic() - begun_s)
    outcome.check(done.returncode == 0, f"valign verify computes the report's numbers again, in {took}")
    if done.returncode != 0:
        faults = [fault for check in json.loads(done.stdout).get("checks", ()) for fault in check["faults"]]
        print("\n".join(faults) or done.stdout, file=sys.stderr)
    forged = bundle.with_name("forged.zip")
    try:
        _forge(bundle, forged)
        done = subprocess.run(  # noqa: S603 - our own command
            [*_valign(), "verify", str(forged), "--json"], check=False, stdout=subprocess.PIPE, text=True
        )
        outcome.check(done.returncode == 1, "valign verify finds a bundle whose report was changed")
    finally:
        forged.unlink(missing_ok=True)


def _forge(bundle: Path, forged: Path) -> None:
    """A copy whose report claims another verdict."""
    with zipfile.ZipFile(bundle) as source, zipfile.ZipFile(forged, "w", zipfile.ZIP_DEFLATED) as target:
        for info in source.infolist():
            data = source.read(info)
            if info.filename == "report.json":
                report = json.loads(data)
                claimed = "reject" if decision(report) == "promote" else "promote"
                report["analysis"]["verdict"]["decision"] = claimed
                data = json.dumps(report, indent=2, ensure_ascii=False).encode()
            target.writestr(info, data)


def _result(report: dict[str, Any]) -> str:
    """The verdict once more, as what the demo has shown."""
    found = decision(report)
    if not found:
        return "Verdict: none."
    text = f"Verdict: {found.upper()}: {headline(report['analysis']['verdict'])}"
    if found == "promote":
        return text
    return (
        f"{text}\nThat is what was measured, not a failure of the demo: the reasons above say why the number "
        "alone\nis not enough. So small a model rarely earns more."
    )


async def _check_served_text(address: str, report: dict[str, Any], outcome: Outcome) -> None:
    """Ask base and adapter the same greedy prompt, the base before and after."""
    import grpc

    from services.common.pb.generator.v1 import generator_pb2 as pb
    from services.common.pb.generator.v1 import generator_pb2_grpc as stubs

    best = report["adapter"]
    if best is None:
        outcome.check(False, "there is an adapter to serve")
        return
    async with grpc.aio.insecure_channel(address) as channel:
        generator = stubs.GeneratorServiceStub(channel)

        async def ask(adapter: str) -> str:
            item = pb.GenerateItem(
                id="greedy",
                prompt=pb.Prompt(messages=[pb.Message(role="user", content=PROMPT)]),
                sampling=pb.Sampling(temperature=0.0, top_p=1.0, max_tokens=48),
            )

            async def requests() -> AsyncIterator[pb.GenerateRequest]:
                yield pb.GenerateRequest(adapter=adapter, items=[item])

            answers = [answer async for answer in generator.Generate(requests(), timeout=120)]
            if answers[0].error.code:
                raise CliError(f"The generator failed: {answers[0].error.message}")
            return str(answers[0].text).strip()

        request = pb.LoadAdapterRequest(name=best["name"], uri=best["uri"], sha256=best["sha256"])
        before = await ask("")
        await generator.LoadAdapter(request, timeout=120)  # does nothing if it is still loaded
        tuned = await ask(best["name"])
        after = await ask("")
    print(
        f"\n  the same prompt, decoded greedily: {PROMPT}\n  base:  {before}\n  tuned: {tuned}\n", flush=True
    )
    outcome.check(tuned != before, "the adapter changes what is served")
    outcome.check(after == before, "the base's own text has not changed")


def _stop(home: Home, services: Child, outcome: Outcome) -> None:
    # A second Ctrl-C must not leave processes behind.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    state = home.read_state() or {"services": {}}
    pids = [one["pid"] for one in state["services"].values() if one["pid"]]
    print("stopping the services ...", flush=True)
    services.terminate()
    deadline_s = time.monotonic() + STOP_TIMEOUT_S
    while services.exit_status() is None and time.monotonic() < deadline_s:
        time.sleep(0.1)
    services.kill_group()
    left = [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    outcome.check(
        not left, "everything that was started is stopped" if not left else f"still running: {left}"
    )


if __name__ == "__main__":
    sys.exit(main())
