import msgspec
import pytest

from cloison.base.errors import Invalid
from cloison.images.archives.lxd import metadata_of, of_lxc
from cloison.images.file_templates import MAX_TEXT, Variables, render

WEB = Variables(
    name="web",
    trigger="create",
    path="/etc/hosts",
    architecture="amd64",
    properties={"default": "#cloud-config"},
    config={"user.data": "mine\n", "user.empty": "", "image.os": "alpine"},
)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("127.0.1.1 {{ container.name }}\n", "127.0.1.1 web\n"),
        ("{{instance.name}} {{ container.type }} {{ container.architecture }}", "web container x86_64"),
        ("{{ path }} {{ trigger }} {{ container.privileged }}", "/etc/hosts create false"),
        ("{{ properties.default }}{{ properties.missing }}", "#cloud-config"),
        ('{{ config_get("user.data", properties.default) }}', "mine"),
        ('{{ config_get("user.other", properties.default) }}', "#cloud-config"),
        ("{{ config_get('user.other', \"\") }}x", "x"),
        ('{% if config_get("user.empty", "") == "" %}a{% else %}b{% endif %}', "a"),
        ('{% if trigger != "create" %}a{% elif container.name %}b{% else %}c{% endif %}', "b"),
        ("{% if properties.missing %}a{% if path %}b{% endif %}{% endif %}c", "c"),
        ('{% if config_get("user.none", "") == "" and not properties.missing %}a{% endif %}', "a"),
        ('{% if path == "/" || trigger == "create" && !properties.missing %}a{% endif %}', "a"),
        ("{% if container.privileged %}any text holds{% endif %}", "any text holds"),
        ('{{ config_get("image.os", "") }} {{ config_get("user.other", "x\n") }}.', "alpine x\n."),
        ("a \n{{- path -}}\t b {%- if path -%} c {%- endif %}\n", "a/etc/hostsb c\n".replace("b c", "bc")),
        ("{# a {{ comment }} #}x", "x"),
        ('{{ "{" }}', "{"),
        ("no { braces } here", "no { braces } here"),
    ],
)
def test_a_template_becomes_its_text(text: str, wanted: str) -> None:
    assert render(text, WEB) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "{% include '/etc/shadow' %}",
        "{% for x in y %}",
        "{% if path %}",
        "{% endif %}",
        "{{ container.name|upper }}",
        "{{ container.secret }}",
        "{{ secret }}",
        "{{ }}",
        "{{ config_get('user.x') }}",
        "{{ config_get('limits.memory', '') }}",
        "{{ config.user }}",
        "{{ devices.eth0 }}",
        "{% if path == %}a{% endif %}",
        "{% if path and %}a{% endif %}",
        "{% if path %}a{% elif unknown %}b{% endif %}",
        "{{ config_get(x, y) }}",
        "{% if properties.missing %}{{ unknown }}{% endif %}",
        "{{ 'a' 'b' }}",
        "x" * (MAX_TEXT + 1),
    ],
)
def test_what_is_not_understood_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        render(text, WEB)


CLOUD = """\
{%- if config_get("cloud-init.user-data", properties.default) == properties.default -%}
{{ config_get("user.user-data", properties.default) }}
{%- else -%}
{{- config_get("cloud-init.user-data", properties.default) }}
{%- endif %}
"""


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        ({}, "#cloud-config\n"),
        ({"user.user-data": "old\n"}, "old\n"),
        ({"user.user-data": "old", "cloud-init.user-data": "new"}, "new\n"),
    ],
)
def test_the_seed_of_cloud_init_is_as_the_public_images_mean_it(config: dict[str, str], wanted: str) -> None:
    """As the generators of distrobuilder write it."""
    assert render(CLOUD, msgspec.structs.replace(WEB, config=config)) == wanted


METADATA = b"""
architecture: aarch64
creation_date: 1700000000
properties: {os: Alpine, release: 3.20, description: yes, list: [1, 2]}
templates:
  /etc/hostname: {when: [create, start, never], template: a.tpl, create_only: true, properties: {x: 1}}
  ../etc/passwd: {when: [create], template: a.tpl}
  /etc/../../x: {when: [create], template: a.tpl}
  /etc/a: {when: [create], template: ../../../etc/shadow}
  /etc/b: {when: [create], template: missing.tpl}
  /etc/c: {when: [], template: a.tpl}
  /etc/d: {when: [create], template: bad.tpl}
  /etc/e: nonsense
"""


def test_metadata_say_what_they_say_and_warn_of_the_rest() -> None:
    files = {"templates/a.tpl": b"{{ container.name }}", "templates/bad.tpl": b"{% macro %}"}
    found = metadata_of(METADATA, files)
    assert found.architecture == "arm64"
    assert found.properties == {"os": "Alpine", "release": "3.20", "description": "yes", "creation_date": "1700000000"}
    (template,) = found.templates
    assert (template.path, template.when, template.create_only) == ("/etc/hostname", ("create", "start"), True)
    assert template.properties == {"x": "1"}
    assert len(found.warnings) == 8
    assert found.warnings[0] == "the template of /etc/hostname says more than is understood: when: never"
    assert all("is left out: " in warning for warning in found.warnings[1:])


def test_owner_and_mode_are_those_of_the_metadata() -> None:
    text = b"templates: {/a: {when: [rename], template: a, uid: 33, gid: '8', mode: '0600', colour: red}}"
    found = metadata_of(text, {"templates/a": b""})
    (template,) = found.templates
    assert (template.when, template.uid, template.gid, template.mode) == (("rename",), 33, 8, 0o600)
    assert found.warnings == ("the template of /a says more than is understood: colour",)


@pytest.mark.parametrize("said", ["uid: -1", "gid: 65536", "mode: '9'", "uid: root", "mode: '10000'"])
def test_owners_and_modes_that_are_none_are_named(said: str) -> None:
    text = f"templates: {{/a: {{when: [create], template: a, {said}}}}}".encode()
    found = metadata_of(text, {"templates/a": b""})
    assert found.templates == ()
    assert said.partition(":")[0] in found.warnings[0]


@pytest.mark.parametrize(
    "text",
    [b"", b"[1]", b"{", b"!!python/object/apply:os.system [id]", b"\xff\xfe\xfa", b"x" * (2 << 20), b"a: &a [*a"],
)
def test_a_metadata_file_that_is_none_is_refused(text: bytes) -> None:
    with pytest.raises(Invalid, match=r"metadata\.yaml"):
        metadata_of(text, {})


def test_lxcs_mark_becomes_the_name_and_braces_stay() -> None:
    found = of_lxc(
        {"templates": b"/etc/hosts\n", "create-message": b"Welcome.\n"}, {"/etc/hosts": b"LXC_NAME {{ x }} {% y %}"}
    )
    assert found.properties == {"message": "Welcome."}
    assert render(found.templates[0].text, WEB) == "web {{ x }} {% y %}"
