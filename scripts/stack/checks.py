"""What ``make stack-check`` looks at: each integration does its part in one small, real run."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts.stack.receiver import Receiver
from scripts.stack.up import Stack
from services.cli.errors import CliError
from services.cli.settings import child_environment

TOPICS = ("security-and-privacy", "bias-removal")
STUDY: dict[str, Any] = {
    "name": "stack-check",
    "reference_set": "ten-commandments",
    "topics": [
        {"id": one, "title": one.replace("-", " ").title(), "description": f"About {one.replace('-', ' ')}."}
        for one in TOPICS
    ],
    "prompt_set": "small",
    "principles_per_topic": 4,
    "generation": {"max_new_tokens": 48},
    "training": {"learning_rate": 2.0e-4, "epochs": 1, "batch_size": 4},
    "stop": {"max_iterations": 1, "min_relative_improvement": -1000},
    "arms": {"training_seeds": 1, "controls": []},
    "measurement": {"samples": 1, "resamples": 500, "permutations": 500},
    "guards": {"general_max_new_tokens": 8},
    # The connections are looked at, not the model: nothing rejects it. So small a study is held all the same.
    "gate": {
        "min_answered": 0.0,
        "min_diversity_ratio": 0.001,
        "min_diversity_of_base": 0.001,
        "min_diversity_of_topic": 0.0,
        "min_specificity_ratio": 0.001,
        "min_subject_ratio": 0.001,
        "max_copying_excess": 1.0,
        "max_marker_excess": 1.0,
        "min_masked_share": 0.0,
        "max_contradictions": 1.0,
        "min_valid_references": 0.001,
        "max_kl_nats": 1000.0,
        "max_nll_increase_nats": 1000.0,
        "max_length_ratio": 1000.0,
    },
}
PROMPT = "State one principle that an AI system should follow."
MONITOR: dict[str, Any] = {
    "name": "stack-check",
    "target": {"route": "valign"},
    "topics": STUDY["topics"],
    "reference_set": "ten-commandments",
    "prompt_set": "small",
    # Once a year: the check asks for its measurements itself.
    "schedule": "0 0 1 1 *",
    "samples": {"prompts_per_topic": 3, "baseline_draws": 2, "max_new_tokens": 48},
    "alarms": {"permutations": 199},
    "live": {"rate": 1.0, "window": 20},
}
MEASURE_TIMEOUT_S = 180.0
RUN_TIMEOUT_S = 900.0
# Longer than a scrape, a look of the mirror or a retry of a webhook takes.
SETTLE_S = 60.0


@dataclass(slots=True)
class Outcome:
    """What was looked at, and how it was."""

    rows: list[tuple[bool, str, str]] = field(default_factory=list)

    def look(self, what: str, see: Callable[[], str], patience_s: float = 0.0) -> bool:
        """Call ``see``, which returns what it saw or raises; again until it passes, for so many seconds."""
        deadline_s = time.monotonic() + patience_s
        while True:
            try:
                seen, passed = see(), True
            except Exception as error:
                seen, passed = f"{type(error).__name__}: {error}".splitlines()[0][:300], False
            if passed or time.monotonic() > deadline_s:
                break
            time.sleep(1.0)
        self.rows.append((passed, what, seen))
        print(f"  {'ok  ' if passed else 'FAIL'}  {what}: {seen}", flush=True)
        return passed


class Checks:
    """Looks at one stack. Every method returns what it saw, or raises."""

    def __init__(self, stack: Stack) -> None:
        import httpx

        self.stack = stack
        self.http = httpx.Client(base_url=f"{stack.url}/v1", timeout=120.0, trust_env=False)
        self.run_id = self.secret = self.webhook_id = self.monitor_id = ""
        self.report: dict[str, Any] = {}

    def api(self, method: str, path: str, **options: Any) -> Any:
        """A call of the REST API; its JSON. Raises for an error, with the problem's own words."""
        answer = self.http.request(method, path, **options)
        if answer.is_error:
            raise CliError(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
        return answer.json() if answer.content else None

    def services(self) -> str:
        """All serve."""
        found = self.api("GET", "/system")["services"]
        away = [one["name"] for one in found if not one["serving"]]
        _hold(not away, f"not serving: {away}")
        return f"{len(found)} services serve"

    def small_run(self) -> str:
        """`valign run` on a small study, to its end."""
        with tempfile.TemporaryDirectory() as folder:
            study = Path(folder) / "study.json"
            # JSON is YAML.
            study.write_text(json.dumps(STUDY), encoding="utf-8")
            done = subprocess.run(  # noqa: S603 - our own command
                [sys.executable, "-m", "services.cli", "run", str(study), "--url", self.stack.url],
                check=False,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=RUN_TIMEOUT_S,
                env=child_environment({}),
            )
        _hold(done.returncode == 0, f"valign run ended with {done.returncode}: {done.stdout[-300:]}")
        run = self.api("GET", "/runs", params={"page_size": 1})["runs"][0]
        _hold(run["status"] == "succeeded", f"{run['run_id']} is {run['status']}")
        self.run_id = run["run_id"]
        self.report = self.api("GET", f"/runs/{self.run_id}/report")
        return f"{self.run_id} ended with {self.report['analysis']['verdict']['decision']}"

    def postgres(self) -> str:
        """Runs, completions and workflows lie in PostgreSQL."""
        import sqlalchemy as sa

        engine = sa.create_engine(self.stack.database_url)
        try:
            with engine.connect() as connection:
                version = connection.execute(sa.text("SHOW server_version")).scalar_one()
                status = connection.execute(
                    sa.text("SELECT status FROM runs WHERE run_id = :run_id"), {"run_id": self.run_id}
                ).scalar_one()
                texts = connection.execute(
                    sa.text("SELECT count(*) FROM completions WHERE run_id = :run_id"),
                    {"run_id": self.run_id},
                ).scalar_one()
                steps = connection.execute(
                    sa.text("SELECT count(*) FROM dbos.operation_outputs WHERE workflow_uuid = :run_id"),
                    {"run_id": self.run_id},
                ).scalar_one()
        finally:
            engine.dispose()
        _hold(status == "succeeded" and texts > 0 and steps > 0, f"{status}, {texts} texts, {steps} steps")
        return f"PostgreSQL {version} holds the run, {texts} completions and {steps} steps"

    def web_page(self) -> str:
        """The page and what it loads come from the orchestrator."""
        answer = self.http.get(f"{self.stack.url}/")
        _hold(answer.status_code == 200 and "<title>" in answer.text, f"{answer.status_code}")
        return f"{len(answer.content)} bytes of HTML from {self.stack.url}/"

    def webhook(self, receiver: Receiver) -> str:
        """A webhook that is told everything."""
        made = self.api("POST", "/webhooks", json={"url": receiver.url, "event_types": ["*"]})
        self.secret, self.webhook_id = made["secret"], made["webhook"]["webhook_id"]
        return f"{self.webhook_id} tells {receiver.url}"

    def events(self, receiver: Receiver) -> str:
        """What happened was told, signed."""
        wanted = {"run.ended", "run.verdict", "adapter.promoted", "route.rolled_back"}
        kinds = {kind.removeprefix("valign.").removesuffix(".v1") for kind in receiver.kinds()}
        _hold(wanted <= kinds, f"not told yet: {sorted(wanted - kinds)}")
        forged = [one for one in receiver.requests if not one.signed_with(self.secret)]
        _hold(not forged, f"{len(forged)} signatures are wrong")
        return f"{len(receiver.requests)} CloudEvents of {len(kinds)} kinds, every signature right"

    def mlflow_run(self) -> str:
        """The run, its metrics by iteration, and its report."""
        client = _mlflow(self.stack.mlflow_url)
        experiments = [one.experiment_id for one in client.search_experiments()]
        found = client.search_runs(experiments, f"tags.`valign.run_id` = '{self.run_id}'")
        _hold(len(found) == 1, f"{len(found)} MLflow runs of {self.run_id}")
        run = found[0]
        _hold(run.info.status == "FINISHED", f"the MLflow run is {run.info.status}")
        history = client.get_metric_history(run.info.run_id, "value_difference_mean")
        files = {one.path for one in client.list_artifacts(run.info.run_id)}
        _hold({point.step for point in history} == {0, 1}, f"steps {[one.step for one in history]}")
        _hold({"report.json", "report.html"} <= files, f"artifacts {sorted(files)}")
        return f"{len(run.data.metrics)} metrics, {len(run.data.params)} parameters, {len(files)} artifacts"

    def mlflow_champion(self) -> str:
        """The promoted adapter is the champion among the versions of its model."""
        client = _mlflow(self.stack.mlflow_url)
        models = client.search_registered_models()
        _hold(len(models) == 1, f"registered models: {[one.name for one in models]}")
        version = client.get_model_version_by_alias(models[0].name, "champion")
        adapter = self.report["adapter"]["name"]
        _hold(version.tags.get("valign.adapter") == adapter, f"the champion is {version.tags}")
        return f"{models[0].name} version {version.version} is {adapter}"

    def promote(self) -> str:
        """The run's adapter becomes what the public name serves, past the gate and with a reason."""
        adapter = self.report["adapter"]["name"]
        route = self.api(
            "POST", f"/adapters/{adapter}/promote", json={"override_reason": "make stack-check looks at it"}
        )
        return f"route {route['name']} serves {route['adapter']}"

    def serves(self, model: str, expected: str) -> str:
        """OpenAI's client gets an answer under a name, from what the name should serve."""
        import openai

        with openai.OpenAI(base_url=f"{self.stack.serving_url}/v1", api_key="none", max_retries=0) as client:
            answer = client.chat.completions.with_raw_response.create(
                model=model, messages=[{"role": "user", "content": PROMPT}], max_tokens=8, temperature=0.0
            )
        said = answer.headers.get("x-valign-adapter")
        _hold(said == expected, f"{model} was answered by {said}, not by {expected}")
        return f"{model} was answered by {said}"

    def base_model(self) -> str:
        """The name of the model without an adapter."""
        import openai

        with openai.OpenAI(base_url=f"{self.stack.serving_url}/v1", api_key="none") as client:
            names = [model.id for model in client.models.list()]
        return names[-1] if "valign" not in names else next(name for name in names if name != "valign")

    def roll_back(self) -> str:
        """The public name goes back to the base model in one call."""
        route = self.api("POST", "/routes/valign/rollback", json={"to": "", "reason": "make stack-check"})
        _hold(route["adapter"] == "", f"the route serves {route['adapter']}")
        return "route valign serves the base model again"

    def prometheus_targets(self) -> str:
        """Every service is scraped."""
        found = self._prometheus("targets")["activeTargets"]
        health = {one["labels"]["service"]: one["health"] for one in found}
        down = [name for name in self.stack.services if health.get(name) != "up"]
        _hold(not down, f"not scraped: {down}")
        return f"{len(health)} targets are up"

    def prometheus_rules(self) -> str:
        """The shipped rules are loaded and evaluate."""
        groups = self._prometheus("rules")["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        bad = [rule["name"] for rule in rules if rule["health"] == "err"]
        _hold(bool(rules) and not bad, f"{len(rules)} rules; failing: {bad}")
        return f"{len(rules)} rules in {len(groups)} groups evaluate"

    def prometheus_metrics(self) -> str:
        """What the run did stands in the metrics."""
        seen = {}
        for query in (
            'sum(valign_runs_ended_total{status="succeeded"})',
            "sum(valign_generator_tokens_total)",
            "max(valign_generator_engine_up)",
        ):
            result = self._prometheus("query", query=query)["result"]
            value = float(result[0]["value"][1]) if result else 0.0
            _hold(value > 0, f"{query} is {value:g}")
            seen[query] = value
        return ", ".join(f"{query} = {value:g}" for query, value in seen.items())

    def monitor(self) -> str:
        """A monitor of the public name takes its baseline and measures once more."""
        made = self.api("POST", "/monitors", json={"document": json.dumps(MONITOR)})
        self.monitor_id = made["monitor_id"]
        baseline = self._measured("baseline")
        self.api("POST", f"/monitors/{self.monitor_id}/measure")
        again = self._measured("asked")
        adapter = self.report["adapter"]["name"]
        answered = {who["name"] for one in (baseline, again) for who in one["adapters"]}
        _hold(answered == {adapter}, f"measured were {sorted(answered)}")
        return f"{self.monitor_id} took its baseline and measured {adapter}: {again['outcome']}"

    def live_exchanges(self) -> str:
        """What people ask by the public name is kept, redacted."""
        import openai

        with openai.OpenAI(base_url=f"{self.stack.serving_url}/v1", api_key="none", max_retries=0) as client:
            client.chat.completions.create(
                model="valign",
                messages=[{"role": "user", "content": f"{PROMPT} Write to ann@mail.example."}],
                max_tokens=8,
            )
        kept = self.api("GET", f"/monitors/{self.monitor_id}/samples")["samples"]
        error = self.api("GET", f"/monitors/{self.monitor_id}")["live_error"]
        _hold(bool(kept), f"none is kept {error}".rstrip())
        _hold(kept[0]["request"].endswith("Write to [email]."), f"kept was {kept[0]['request']!r}")
        return f"{len(kept)} kept, redacted"

    def monitor_metrics(self) -> str:
        """What it measured stands in the metrics."""
        query = f'valign_monitor_value_difference{{monitor="{self.monitor_id}"}}'
        result = self._prometheus("query", query=query)["result"]
        _hold(len(result) == len(TOPICS), f"{len(result)} series of {query}")
        return ", ".join(f"{one['metric']['topic']} {float(one['value'][1]):.3f}" for one in result)

    def _measured(self, kind: str) -> Any:
        deadline_s = time.monotonic() + MEASURE_TIMEOUT_S
        while time.monotonic() < deadline_s:
            found = self.api("GET", f"/monitors/{self.monitor_id}/measurements")["measurements"]
            mine = [one for one in found if one["kind"] == kind]
            if mine and mine[0]["state"] in ("succeeded", "failed"):
                _hold(mine[0]["state"] == "succeeded", f"{kind}: {mine[0]['message']}")
                return mine[0]
            time.sleep(1.0)
        raise CliError(f"no {kind} within {MEASURE_TIMEOUT_S:.0f} s")

    def clean_up(self) -> str:
        """The check's webhook and monitor go; its run and adapter stay, as every run does."""
        gone = []
        for path, name in (("webhooks", self.webhook_id), ("monitors", self.monitor_id)):
            if name:
                self.api("DELETE", f"/{path}/{name}")
                gone.append(name)
        return f"{' and '.join(gone)} deleted"

    def _prometheus(self, what: str, **params: str) -> Any:
        import httpx

        answer = httpx.get(
            f"{self.stack.prometheus_url}/api/v1/{what}", params=params, timeout=30.0, trust_env=False
        )
        answer.raise_for_status()
        return answer.json()["data"]

    def audit_log(self) -> str:
        """The chain is whole."""
        found = self.api("GET", "/audit-log/verify")
        _hold(found["intact"], f"broken: {found}")
        return f"{found['entries']} entries, intact"


def check(stack: Stack) -> int:
    """Look at everything; 0 if all of it works."""
    checks, outcome = Checks(stack), Outcome()
    look = outcome.look
    with Receiver() as receiver:
        look("services", checks.services, SETTLE_S)
        look("web page", checks.web_page)
        hooked = look("webhook", lambda: checks.webhook(receiver))
        look("OpenAI-compatible API", lambda: checks.serves(checks.base_model(), "base"), SETTLE_S)
        if look("a run", checks.small_run):
            look("PostgreSQL", checks.postgres)
            look("MLflow: the run", checks.mlflow_run, SETTLE_S)
            adapter = checks.report["adapter"]["name"]
            if look("promotion", checks.promote):
                look("the public name", lambda: checks.serves("valign", adapter), SETTLE_S)
                look("MLflow: the champion", checks.mlflow_champion, SETTLE_S)
                if look("monitor", checks.monitor):
                    look("Prometheus: the monitor", checks.monitor_metrics, SETTLE_S)
                    look("live exchanges", checks.live_exchanges, SETTLE_S)
                look("roll-back", checks.roll_back)
                look("the public name", lambda: checks.serves("valign", "base"), SETTLE_S)
            if hooked:
                look("events", lambda: checks.events(receiver), SETTLE_S)
        look("Prometheus: targets", checks.prometheus_targets, SETTLE_S)
        look("Prometheus: rules", checks.prometheus_rules, SETTLE_S)
        look("Prometheus: metrics", checks.prometheus_metrics, SETTLE_S)
        look("audit log", checks.audit_log)
        look("tidied", checks.clean_up)
    failed = [what for passed, what, _ in outcome.rows if not passed]
    print(f"\n{len(outcome.rows) - len(failed)} of {len(outcome.rows)} checks passed", flush=True)
    if failed:
        print(f"FAILED: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _mlflow(url: str) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=url, registry_uri=url)


def _hold(condition: bool, told: str) -> None:
    if not condition:
        raise CliError(told)
