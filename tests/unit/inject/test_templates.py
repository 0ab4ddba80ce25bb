"""Custom templates: the part of Go's template language that they use."""

from typing import Any

import pytest

from tidegate import __version__
from tidegate.inject.context import Context, Place
from tidegate.inject.custom import data_of
from tidegate.inject.gotemplate import Template, TemplateError
from tidegate.inject.pod import inject
from tidegate.inject.settings import settings
from tidegate.inject.workloads import Workload

DATA: dict[str, Any] = {
    "ObjectMeta": {"name": "web", "annotations": {"a/b": "yes"}, "labels": {}},
    "Spec": {"containers": [{"name": "app"}, {"name": "other"}], "serviceAccountName": "shop"},
    "Values": {"global": {"hub": "example.com", "on": True, "ports": {"b": 2, "a": 1}}},
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ .Values.global.hub }}", "example.com"),
        ("{{ .Spec.ServiceAccountName }}", "shop"),
        ("{{ .Values.nothing.there }}", ""),
        ("a {{- /* comment */ -}} b", "ab"),
        ("x{{- 1 }} {{ 2 -}} y", "x1 2y"),
        ('{{ if eq .Spec.ServiceAccountName "shop" }}yes{{ else }}no{{ end }}', "yes"),
        ("{{ if .Values.off }}a{{ else if .Values.global.on }}b{{ else }}c{{ end }}", "b"),
        ("{{ range .Spec.Containers }}[{{ .Name }}]{{ end }}", "[app][other]"),
        ("{{ range $i, $c := .Spec.Containers }}{{ $i }}={{ $c.Name }};{{ end }}", "0=app;1=other;"),
        ("{{ range $k, $v := .Values.global.ports }}{{ $k }}{{ $v }}{{ end }}", "a1b2"),
        ("{{ range .Values.none }}x{{ else }}empty{{ end }}", "empty"),
        ("{{ with .Values.global }}{{ .hub }}{{ end }}", "example.com"),
        ("{{ with .Values.global }}{{ $.ObjectMeta.Name }}{{ end }}", "web"),
        ("{{ $x := 1 }}{{ if true }}{{ $x = 2 }}{{ end }}{{ $x }}", "2"),
        ("{{ index .ObjectMeta.Annotations `a/b` | default `no` | quote }}", '"yes"'),
        ("{{ index .ObjectMeta.Annotations `c/d` | default `no` }}", "no"),
        ("{{ annotation .ObjectMeta `c/d` 5 }}", "5"),
        ("{{ if isset .ObjectMeta.Annotations `a/b` }}set{{ end }}", "set"),
        ("{{ (index .Spec.Containers 1).Name }}", "other"),
        ('{{ define "t" }}<{{ .hub }}>{{ end }}{{ template "t" .Values.global }}', "<example.com>"),
        ("{{ toYaml .Values.global.ports | indent 2 }}", "a: 1\n  b: 2"),
        ("{{ if and .Values.global.on (not .Values.off) (gt (len .Spec.Containers) 1) }}ok{{ end }}", "ok"),
        ('{{ printf "%s-%d" .ObjectMeta.Name 3 }}', "web-3"),
        ("{{ .Values.global.on }}", "true"),
    ],
)
def test_templates_render(text: str, expected: str) -> None:
    assert Template(text).render(DATA) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ if .A }}", "has no"),
        ("{{ end }}", "closes nothing"),
        ("{{ .A", "no closing braces"),
        ("{{ shout .A }}", "'shout' is not defined"),
        ("{{ $x }}", r"\$x is not defined"),
        ("{{ ~ }}", "is not understood"),
        ("{{ index 1 2 3 | fromJSON }}", "fromJSON"),
        ('{{ define "t" }}{{ template "t" }}{{ end }}{{ template "t" }}', "without end"),
        ('{{ template "none" }}', "no template 'none'"),
        ("{{ (len .A }}", "parenthesis"),
    ],
)
def test_a_bad_template_is_refused_in_words(text: str, expected: str) -> None:
    with pytest.raises(TemplateError, match=expected):
        Template(text, "mine").render(DATA)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ first (splitList `,` `a,b`) }}{{ last (list 1 2) }}{{ rest (list 1 2 3) }}", "a2[2 3]"),
        ("{{ hasKey .Values.global `hub` }}{{ get .Values.global `none` }}", "true"),
        ("{{ coalesce .Values.none .Values.global.hub }}{{ empty .Values.none }}", "example.comtrue"),
        (
            "{{ add 1 2 3 }} {{ sub 5 7 }} {{ div -7 2 }} {{ mod -7 2 }} {{ mul 2 3 }} {{ max 1 3 }} {{ min 1 3 }}",
            "6 -2 -3 -1 6 3 1",
        ),
        ("{{ regexReplaceAll `(\\w)-(\\w)` `a-b` `$2-${1}` }}", "b-a"),
        ("{{ b64enc `a` }}{{ b64dec `YQ==` }}", "YQ==a"),
        (
            "{{ uniq (list 1 1 2) }}{{ has 1 (list 1) }}{{ without (list 1 2) 1 }}{{ concat (list 1) (list 2) }}",
            "[1 2]true[2][1 2]",
        ),
        ("{{ repeat 2 `ab` }}{{ substr 0 2 `abc` }}{{ title `a b` }}{{ nospace `a b` }}", "abababA Bab"),
        ("{{ dig `global` `hub` `none` .Values }}{{ dig `x` `y` `none` .Values }}", "example.comnone"),
        (
            "{{ merge (dict `a` 1) (dict `a` 2 `b` 3) }}{{ kindOf .Values }}{{ kindIs `string` `x` }}",
            "map[a:1 b:3]maptrue",
        ),
        ("{{ range until 3 }}{{ . }}{{ end }}{{ sortAlpha (list `b` `a`) }}", "012[a b]"),
        ("{{ .Spec.DNSPolicy }}", "Default"),
    ],
)
def test_functions_of_sprig(text: str, expected: str) -> None:
    data = {**DATA, "Spec": DATA["Spec"] | {"dnsPolicy": "Default"}}
    assert Template(text).render(data) == expected


def test_a_template_can_refuse_a_pod() -> None:
    with pytest.raises(TemplateError, match="no such team"):
        Template("{{ fail `no such team` }}").render({})


def test_a_template_cannot_make_output_without_bound() -> None:
    text = "{{ range .L }}{{ range $.L }}{{ range $.L }}0123456789{{ end }}{{ end }}{{ end }}"
    with pytest.raises(TemplateError, match="more than"):
        Template(text).render({"L": list(range(200))})


def test_a_custom_template_is_laid_over_the_shipped_one() -> None:
    text = """
spec:
  containers:
  - name: istio-proxy
    env:
    - name: OWNER
      value: "{{ .DeploymentMeta.Name }}"
{{- if .Values.global.hub }}
metadata:
  labels:
    hub: "{{ .Values.global.hub }}"
{{- end }}
"""
    values = {"sidecarInjectorWebhook": {"templates": {"mine": text}, "defaultTemplates": ["sidecar", "mine"]}}
    given = {"metadata": {}, "spec": {"containers": [{"name": "app", "image": "app"}]}}
    made = inject(given, Workload("apps/v1", "Deployment", "web", "shop"), settings(values, native=False)).pod
    proxy = next(each for each in made["spec"]["containers"] if each["name"] == "istio-proxy")
    assert {"name": "OWNER", "value": "web"} in proxy["env"]
    assert made["metadata"]["labels"]["hub"] == "localhost/tidegate"


@pytest.mark.parametrize(("text", "expected"), [("[", "not YAML"), ("- a", "as a YAML mapping")])
def test_what_a_template_makes_must_be_a_pod(text: str, expected: str) -> None:
    values = {"sidecarInjectorWebhook": {"templates": {"sidecar": text}}}
    with pytest.raises(TemplateError, match=expected):
        inject({"spec": {"containers": []}}, Workload("v1", "Pod", "web"), settings(values))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{{ "-web_." | trimAll "-_." }}', "web"),
        ("{{ directory `/etc/certs/ca.pem` }}", "/etc/certs/"),
        ("{{ appendMultusNetwork `a` `default/istio-cni` }}", "a, default/istio-cni"),
        ("{{ appendMultusNetwork `x/istio-cni` `x/istio` }}", "x/istio-cni, x/istio"),
        ("{{ valueOrDefault .Values.global.none `x` }}{{ valueOrDefault false `x` }}", "xfalse"),
        ("{{ toJSON (omitNil .Values.global.gaps) }}", '{"b":1}'),
        ("{{ toJsonMap (omit (strdict `a` `1` `b` `2`) `a`) (strdict `c` `3`) }}", '{"b":"2","c":"3"}'),
        ("{{ includeInboundPorts .Spec.containers }}", "8080"),
        ("{{ .ProxyConfig.InterceptionMode.String }} {{ .ProxyConfig.GetDrainDuration }}", "REDIRECT 45s"),
        ("{{ protoToJSON .ProxyConfig }}", "{}"),
        ("{{ .ProxyInitImage }}", "localhost/tidegate/proxyv2:{version}"),
        ("{{ `a: 1` | nindent 2 }}", "\n  a: 1"),
        (
            "{{ with .ObjectMeta }}{{ otelResourceAttributes $.MeshConfig .annotations .labels `shop` nil }}{{ end }}",
            "",
        ),
    ],
)
def test_functions_that_installations_templates_use(text: str, expected: str) -> None:
    own = settings({"global": {"gaps": {"a": None, "b": 1, "c": {"d": None}}}})
    ports = [{"containerPort": 8080}, {"containerPort": 53, "protocol": "UDP"}]
    app = {"name": "app", "image": "app:v1", "ports": ports}
    context = Context({"spec": {"containers": [app]}}, Workload("v1", "Pod", "web", "shop"), own, Place())
    assert Template(text).render(data_of(context)) == expected.replace("{version}", __version__)


def test_a_field_that_there_is_not_is_named() -> None:
    context = Context({"spec": {}}, Workload("v1", "Pod", "web", "shop"), settings(), Place())
    with pytest.raises(TemplateError, match=r"\.Vales: there is no such field; there are .*Values"):
        Template("{{ .Vales.x }}", "own").render(data_of(context))
