"""A certificate as JUnit XML, which systems of continuous integration show beside the tests."""

import re
from xml.etree import ElementTree as ET

from evaluate.certificate import Certificate, Setting
from evaluate.graph_verdict import Comparison, GraphVerdict
from evaluate.ratios import worst_slack
from evaluate.tables import short, way

# what XML 1.0 has no way to write, escaped or not
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_xml(certificate: Certificate) -> bytes:
    """Return the document: a suite of checks, and one of each graph in each way that it was run.

    A failure is a difference; where its type is ``unproven``, one could not have shown. An error is a graph that could
    not be run, on one set of inputs or at all. A comparison within wider bounds passes, and its output says how wide;
    the property ``slack`` of its suite is the widest.
    """
    root = ET.Element("testsuites", {"name": _clean(f"parity of {certificate.name}")})
    suites = [_checks(certificate), *(_graph(graph, certificate.setting) for graph in certificate.graphs)]
    for suite in suites:
        suite.set("timestamp", certificate.setting.created)
        _count(suite)
        root.append(suite)
    for name in ("tests", "failures", "errors", "skipped"):
        root.set(name, str(sum(int(suite.get(name, "0")) for suite in suites)))
    ET.indent(root)
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _checks(certificate: Certificate) -> ET.Element:
    suite = ET.Element("testsuite", {"name": "checks"})
    properties = ET.SubElement(suite, "properties")
    for name, value in _properties(certificate):
        ET.SubElement(properties, "property", {"name": name, "value": _clean(value)})
    for check in certificate.checks:
        case = _case(suite, "checks", check.name)
        if not check.passed:
            _object(case, "failure", "fail", check.detail)
    for sentence in certificate.setting.skipped:
        _object(_case(suite, "checks", sentence.partition(":")[0]), "skipped", None, sentence)
    for graph in certificate.setting.not_judged:
        _object(_case(suite, "checks", graph), "skipped", None, f"{graph} was not judged")
    return suite


def _properties(certificate: Certificate) -> list[tuple[str, str]]:
    setting = certificate.setting
    return [
        ("bundle_sha256", certificate.bundle_sha256),
        ("rule", certificate.rule),
        ("mode", setting.mode),
        ("held_out_source", setting.held_out_source),
        ("held_out_rows", str(setting.held_out_rows)),
        *([("held_out_sha256", setting.held_out_sha256)] if setting.held_out_sha256 else []),
        ("seed", str(setting.seed)),
        ("machine", setting.machine),
        ("torch_threads", str(setting.torch_threads)),
        ("onnxruntime_threads", str(setting.onnxruntime_threads)),
        *((f"version.{name}", version) for name, version in sorted(setting.versions.items())),
    ]


def _graph(graph: GraphVerdict, setting: Setting) -> ET.Element:
    suite = ET.Element(
        "testsuite", {"name": _clean(f"{graph.graph} on {short(graph.provider)}, {way(graph, setting)}")}
    )
    slack = worst_slack(graph.comparisons)
    if slack > 1:
        properties = ET.SubElement(suite, "properties")
        ET.SubElement(properties, "property", {"name": "slack", "value": f"{slack:.3g}"})
    for comparison in graph.comparisons:
        case = _case(suite, graph.graph, _name(comparison))
        if comparison.verdict != "pass":
            _object(case, "failure", comparison.verdict, comparison.reason or comparison.verdict)
        if comparison.slack > 1:
            _output(case, f"compared within bounds {comparison.slack:.3g} times as wide as the rule's")
    explained = any(_explains(comparison, graph) for comparison in graph.comparisons)
    if graph.precision != "float32" and graph.comparisons and not explained:
        case = _case(suite, graph.graph, f"what {graph.precision} decides, and how far it is off")
        if graph.verdict != "pass":
            _object(case, "failure", graph.verdict, graph.reason or graph.verdict)
    elif graph.verdict != "pass" and not explained:
        _object(_case(suite, graph.graph, "it runs"), "error", "trouble", graph.reason or "it does not run")
    if graph.note is not None:
        _output(suite, graph.note)
    return suite


def _explains(comparison: Comparison, graph: GraphVerdict) -> bool:
    """Return whether the verdict on a graph rests on a comparison; where it stopped running later, it does not."""
    if comparison.verdict == "pass" or comparison.verdict != graph.verdict:
        return False
    return (graph.reason or "").endswith(comparison.reason or "")


def _name(comparison: Comparison) -> str:
    return f"{comparison.input_set}, batch {comparison.batch_size}: {comparison.output}"


def _case(suite: ET.Element, of: str, name: str) -> ET.Element:
    return ET.SubElement(suite, "testcase", {"classname": _clean(of), "name": _clean(name)})


def _object(case: ET.Element, tag: str, kind: str | None, sentence: str) -> None:
    message = _clean(sentence)
    found = ET.SubElement(case, tag, {"message": message} | ({"type": kind} if kind else {}))
    found.text = message


def _output(of: ET.Element, sentence: str) -> None:
    ET.SubElement(of, "system-out").text = _clean(sentence)


def _count(suite: ET.Element) -> None:
    cases = suite.findall("testcase")
    suite.set("tests", str(len(cases)))
    for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(name, str(sum(case.find(tag) is not None for case in cases)))


def _clean(text: str) -> str:
    """Take away what XML has no way to write: names of inputs and labels are whatever a user chose."""
    return _FORBIDDEN.sub("", text)
