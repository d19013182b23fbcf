"""Stored scripts and command templates."""

from tests.routes.shapes import Entry, Operation, get

NAME = {"name": "script_name"}
PK = {"pk": "template_id"}

LIBRARY = [
    get("scripts"),
    Operation(
        "scripts",
        "POST",
        status=201,
        body=lambda _: {"name": "new-script", "body": "echo new\n"},
        also=(lambda names: {"name": names["script_name"], "body": "echo new\n"},),
        entries=(Entry("script.create", "script"),),
    ),
    get("script", path=NAME),
    Operation(
        "script",
        "PATCH",
        path=NAME,
        body=lambda _: {"description": "changed"},
        entries=(Entry("script.update", "script", "script_id"),),
    ),
    get("script-versions", path=NAME),
    Operation(
        "script-versions",
        "POST",
        status=201,
        path=NAME,
        body=lambda _: {"body": "echo newer\n"},
        entries=(Entry("script.version_add", "script", "script_id"),),
    ),
    Operation(
        "script-withdraw",
        "POST",
        path=NAME,
        entries=(Entry("script.withdraw", "script", "script_id"),),
    ),
    get("command-templates"),
    Operation(
        "command-templates",
        "POST",
        status=201,
        body=lambda _: {"name": "new template", "type": "ping"},
        also=(
            lambda names: {"name": names["template_name"], "type": "ping"},
            lambda names: {
                "name": "new template",
                "type": "run_script",
                "payload": {"script": names["script_name"]},
            },
        ),
        entries=(Entry("command_template.create", "commandtemplate"),),
    ),
    get("command-template", path=PK),
    Operation(
        "command-template",
        "PATCH",
        path=PK,
        body=lambda _: {"description": "changed"},
        entries=(Entry("command_template.update", "commandtemplate", "template_id"),),
    ),
    Operation(
        "command-template",
        "DELETE",
        status=204,
        path=PK,
        entries=(Entry("command_template.delete", "commandtemplate", "template_id"),),
    ),
]
