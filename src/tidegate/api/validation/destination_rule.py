"""Rules for DestinationRule."""

from tidegate.api.networking import DestinationRule
from tidegate.api.validation.findings import Findings
from tidegate.api.validation.names import check_export_to, check_label, check_labels, check_selector, check_wildcard
from tidegate.api.validation.traffic import check_traffic_policy


def check_destination_rule(rule: DestinationRule, namespace: str, out: Findings) -> None:
    check_wildcard("spec.host", rule.host, out)
    if rule.traffic_policy is not None:
        check_traffic_policy("spec.trafficPolicy", rule.traffic_policy, namespace, out)
    seen: set[str] = set()
    for index, subset in enumerate(rule.subsets):
        at = f"spec.subsets[{index}]"
        check_label(f"{at}.name", subset.name, out)
        if subset.name in seen:
            out.duplicate(f"{at}.name", subset.name, "subset names must be unique")
        seen.add(subset.name)
        check_labels(f"{at}.labels", subset.labels, out)
        if subset.traffic_policy is not None:
            check_traffic_policy(f"{at}.trafficPolicy", subset.traffic_policy, namespace, out)
    check_export_to(rule.export_to, namespace, out, selector=rule.workload_selector is not None)
    if rule.workload_selector is not None:
        check_selector("spec.workloadSelector.matchLabels", rule.workload_selector.match_labels, out)
