"""What holds for every pod of every scenario."""

import re

from tests.charts.helm import Object, Values, merged, render, scenario
from tests.charts.objects import FROZEN, containers, find, is_ours, of_kind, pods, selects, title

LONG = "a-release-whose-name-is-as-long-as-helm-lets-a-name-be"
# What a Deployment needs when every worker has its own autoscaler.
AUTOSCALED: Values = {"workerDefaults": {"autoscaling": {"kind": "hpa", "maxReplicas": 2}}, "database": {"maxConnections": 1000}}


def test_every_pod_satisfies_the_restricted_pod_security_standard(objects: list[Object]) -> None:
    for name, pod in pods(objects):
        spec = pod["spec"]
        assert not {"hostNetwork", "hostPID", "hostIPC", "hostUsers"} & spec.keys(), name
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["runAsUser"] > 0, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not [volume for volume in spec.get("volumes", []) if "hostPath" in volume], name
        for container in containers(pod):
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False, name
            assert context["readOnlyRootFilesystem"] is True, name
            assert context["capabilities"] == {"drop": ["ALL"]}, name
            assert not {"privileged", "procMount", "runAsUser"} & context.keys(), name
            assert not [port for port in container.get("ports", []) if "hostPort" in port], name


def test_no_pod_may_talk_to_the_cluster_or_sees_its_neighbours_addresses(objects: list[Object]) -> None:
    for name, pod in pods(objects):
        assert pod["spec"]["automountServiceAccountToken"] is False, name
        assert pod["spec"]["enableServiceLinks"] is False, name
    assert all(account["automountServiceAccountToken"] is False for account in of_kind(objects, "ServiceAccount"))


def test_every_container_requests_what_it_needs_and_has_a_limit_of_memory(objects: list[Object]) -> None:
    for name, pod in pods(objects):
        for container in containers(pod):
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys(), name
            assert "memory" in container["resources"]["limits"], name


def test_every_image_is_fixed(objects: list[Object]) -> None:
    for name, pod in pods(objects):
        for container in containers(pod):
            assert re.search(r"(:(?!latest$)[\w.-]+|@sha256:[0-9a-f]{64})$", container["image"]), name


def test_every_process_that_stays_has_three_different_probes(objects: list[Object]) -> None:
    for name, pod in pods(of_kind(objects, "Deployment", "StatefulSet")):
        container = pod["spec"]["containers"][0]
        startup, readiness, liveness = (container[f"{kind}Probe"] for kind in ("startup", "readiness", "liveness"))
        assert startup not in (readiness, liveness), name
        asked = [{key: probe[key] for key in probe if key in {"exec", "httpGet", "tcpSocket"}} for probe in (readiness, liveness)]
        assert asked[0] != asked[1], name


def test_every_account_that_a_pod_names_is_made(objects: list[Object]) -> None:
    made = {account["metadata"]["name"] for account in of_kind(objects, "ServiceAccount")}
    assert {pod["spec"]["serviceAccountName"] for _, pod in pods(objects) if is_ours(containers(pod)[0])} <= made


def test_every_configuration_that_a_pod_names_is_made(objects: list[Object]) -> None:
    made = {each["metadata"]["name"] for each in of_kind(objects, "ConfigMap")}
    for name, pod in pods(objects):
        named = {
            source["configMapRef"]["name"]
            for container in containers(pod)
            for source in container.get("envFrom", [])
            if "configMapRef" in source
        }
        named |= {volume["configMap"]["name"] for volume in pod["spec"].get("volumes", []) if "configMap" in volume}
        assert named <= made, name


def test_every_secret_that_a_pod_names_is_made_or_named_in_the_values(objects: list[Object], scenario_name: str) -> None:
    made = {each["metadata"]["name"] for each in of_kind(objects, "Secret")}
    made |= {each["spec"]["target"]["name"] for each in of_kind(objects, "ExternalSecret")}
    secrets = scenario(scenario_name)["secrets"]
    made |= {source["existingSecret"] for source in secrets.values() if "existingSecret" in source}
    for name, pod in pods(objects):
        named = {
            source["secretRef"]["name"] for container in containers(pod) for source in container.get("envFrom", []) if "secretRef" in source
        }
        assert named <= made, name


def test_selectors_are_the_three_frozen_labels_and_pick_their_own_pods_alone(objects: list[Object]) -> None:
    workloads = of_kind(objects, "Deployment", "StatefulSet")
    for each in workloads:
        selector = each["spec"]["selector"]
        assert selector.keys() == {"matchLabels"}, title(each)
        assert tuple(selector["matchLabels"]) == FROZEN, title(each)
        picked = [name for name, pod in pods(objects) if selects(selector, pod["metadata"]["labels"])]
        assert picked == [title(each)]


def test_selectors_do_not_change_with_labels_version_or_component_values(scenario_name: str) -> None:
    """What a selector says cannot be changed by an upgrade."""
    changed: Values = {"commonLabels": {"added": "later"}, "image": {"tag": "9.9.9", "digest": ""}, "pods": {"labels": {"more": "too"}}}
    before, after = (of_kind(render(scenario(scenario_name), values), "Deployment", "StatefulSet") for values in ({}, changed))
    assert [each["spec"]["selector"] for each in before] == [each["spec"]["selector"] for each in after]


def test_every_service_budget_and_policy_picks_a_pod(objects: list[Object]) -> None:
    labels = [pod["metadata"].get("labels", {}) for _, pod in pods(objects)]
    for each in of_kind(objects, "Service"):
        assert [one for one in labels if selects({"matchLabels": each["spec"]["selector"]}, one)], title(each)
    for each in of_kind(objects, "PodDisruptionBudget", "PodMonitor"):
        assert [one for one in labels if selects(each["spec"]["selector"], one)], title(each)
    for each in of_kind(objects, "NetworkPolicy"):
        assert [one for one in labels if selects(each["spec"]["podSelector"], one)], title(each)
        for rule in [*each["spec"].get("ingress", []), *each["spec"].get("egress", [])]:
            for peer in [*rule.get("from", []), *rule.get("to", [])]:
                if "podSelector" in peer and "namespaceSelector" not in peer:
                    assert [one for one in labels if selects(peer["podSelector"], one)], title(each)


def test_every_pod_is_denied_what_no_policy_opens(objects: list[Object]) -> None:
    policies = of_kind(objects, "NetworkPolicy")
    for direction in ("Ingress", "Egress"):
        closed = [policy["spec"]["podSelector"] for policy in policies if direction in policy["spec"]["policyTypes"]]
        for name, pod in pods(objects):
            assert [one for one in closed if selects(one, pod["metadata"].get("labels", {}))], f"{name} {direction}"


def test_whoever_scales_a_workload_owns_its_replicas() -> None:
    rendered = render(scenario("production"), AUTOSCALED)
    scaled = {each["spec"]["scaleTargetRef"]["name"] for each in of_kind(rendered, "HorizontalPodAutoscaler")}
    workloads = of_kind(rendered, "Deployment")
    assert {each["metadata"]["name"] for each in workloads if "replicas" not in each["spec"]} == scaled
    assert len(scaled) == 3


def test_autoscalers_of_keda_own_their_replicas() -> None:
    rendered = render(scenario("staging"))
    scaled = {each["spec"]["scaleTargetRef"]["name"] for each in of_kind(rendered, "ScaledObject")}
    assert len(scaled) == 2
    assert not [each for each in of_kind(rendered, "Deployment") if each["metadata"]["name"] in scaled and "replicas" in each["spec"]]


def test_every_hook_says_when_it_is_deleted(objects: list[Object]) -> None:
    hooks = [each for each in objects if "helm.sh/hook" in each["metadata"].get("annotations", {})]
    assert hooks
    assert not [
        title(each) for each in hooks if "before-hook-creation" not in each["metadata"]["annotations"]["helm.sh/hook-delete-policy"]
    ]


def test_the_migration_brings_all_it_needs_before_it_runs() -> None:
    """A hook runs before the release's own objects are there, and must not need one of them."""
    rendered = render(scenario("staging"))
    job = find(rendered, "Job")
    weight = int(job["metadata"]["annotations"]["helm.sh/hook-weight"])
    early = {
        title(each)
        for each in rendered
        if each["metadata"].get("annotations", {}).get("helm.sh/hook") == "pre-install,pre-upgrade"
        and int(each["metadata"]["annotations"]["helm.sh/hook-weight"]) < weight
    }
    spec = job["spec"]["template"]["spec"]
    needed = {f"ServiceAccount/{spec['serviceAccountName']}", f"NetworkPolicy/{job['metadata']['name']}"}
    sources = containers(job["spec"]["template"])[0]["envFrom"]
    needed |= {f"ExternalSecret/{source['secretRef']['name']}" for source in sources}
    assert needed == early


def test_no_name_or_label_is_too_long_with_a_long_release_name(scenario_name: str) -> None:
    rendered = render(
        scenario(scenario_name),
        {
            "workers": {"fifteen-letters": {"queues": ["main-queue"], "concurrency": 1, "longestTaskSeconds": 9}},
            "database": {"maxConnections": 1000},
        },
        release=LONG[:53],
    )
    names = [each["metadata"]["name"] for each in rendered]
    assert max(map(len, names)) <= 63
    assert all(re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", name) for name in names)
    for name, pod in pods(rendered):
        assert all(len(value) <= 63 and not value.endswith("-") for value in pod["metadata"].get("labels", {}).values()), name
        assert all(len(container["name"]) <= 63 for container in containers(pod)), name


def test_no_two_objects_are_of_one_kind_and_name(objects: list[Object]) -> None:
    titles = [title(each) for each in objects]
    assert len(titles) == len(set(titles))


def test_every_object_has_the_labels_that_tools_look_for(objects: list[Object]) -> None:
    wanted = {*FROZEN, "app.kubernetes.io/version", "app.kubernetes.io/part-of", "app.kubernetes.io/managed-by", "helm.sh/chart"}
    assert not [title(each) for each in objects if not wanted <= each["metadata"].get("labels", {}).keys()]


def test_common_labels_and_annotations_are_on_every_object_and_pod(scenario_name: str) -> None:
    rendered = render(scenario(scenario_name), {"commonLabels": {"a-label": "of-all"}, "commonAnnotations": {"a-note": "of-all"}})
    ours = [(name, pod) for name, pod in pods(rendered) if is_ours(containers(pod)[0])]
    everything = [*((title(each), each) for each in rendered), *ours]
    assert not [name for name, each in everything if each["metadata"]["labels"].get("a-label") != "of-all"]
    assert not [name for name, each in everything if each["metadata"].get("annotations", {}).get("a-note") != "of-all"]


def test_a_change_of_settings_or_inline_secrets_restarts_the_pods_that_read_them() -> None:
    dev = scenario("dev")
    before = dict(pods(render(dev)))
    for changed in ({"config": {"LOG_LEVEL": "DEBUG"}}, {"secrets": {"app": {"inline": {"SMTP_PASSWORD": "changed"}}}}):
        after = dict(pods(render(merged(dev, changed))))
        restarted = {name for name in before.keys() & after.keys() if before[name] != after[name]}
        assert {name for name, pod in before.items() if name.startswith("Deployment/") and is_ours(containers(pod)[0])} <= restarted


def test_the_scheduler_is_never_two() -> None:
    spec = find(render(scenario("production")), "Deployment", "scheduler")["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})


def test_a_rollout_takes_no_pod_before_another_is_ready(objects: list[Object]) -> None:
    for each in of_kind(objects, "Deployment"):
        if each["spec"]["strategy"]["type"] == "RollingUpdate":
            assert each["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0, title(each)
