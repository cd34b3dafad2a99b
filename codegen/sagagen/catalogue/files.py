"""Codes about files and YAML."""

from collections.abc import Iterator

from sagagen.catalogue.entry import FILE_NAME, PROTO, Entry, Section

BUF_YAML = "buf.yaml"


def _files() -> Iterator[Entry]:
    yield Entry(
        "SG001",
        "A proto does not compile, or a file that it imports is nowhere.",
        "Fix it. Imports are relative to contracts/; google/protobuf, buf/validate and the files of "
        "googleapis-common-protos (google/api, google/type, google/rpc, google/longrunning) are built in.",
        "strin coupon_code = 4;",
        "string coupon_code = 4;",
        PROTO,
    )
    yield Entry(
        "SG002",
        "buf's linter found something in a proto.",
        "Fix it, put `// buf:lint:ignore RULE` above it, or choose the rules in a buf.yaml of your own.",
        "string couponCode = 4;",
        "string coupon_code = 4;",
        PROTO,
        is_warning=True,
    )
    yield Entry(
        "SG003",
        "contracts/saga.yaml is missing, or there is no proto file beside it.",
        "Write what is missing, or name the project with `--project`.",
        "contracts/sagas.yaml",
        "contracts/saga.yaml",
        FILE_NAME,
    )
    yield Entry(
        "SG004",
        "saga.yaml is not UTF-8.",
        "Save it as UTF-8.",
        "reason: b\xf6rse, saved as Latin-1",
        "reason: no client reads the status",
    )
    yield Entry(
        "SG005",
        "buf can't run: its configuration is wrong, or names a module that cannot be reached.",
        "Fix buf.yaml; `buf build contracts` says more.",
        "version: v7",
        "version: v2",
        BUF_YAML,
    )
    yield Entry(
        "SG006",
        "A proto compiles, but google.protobuf, which the services run on, cannot load it.",
        "Avoid the feature that is named.",
    )
    yield Entry(
        "SG007",
        "A rule of buf.validate does not fit its field, or does not compile: no request with it could be validated.",
        "Fix the rule.",
        "[(buf.validate.field).string.min_len = 1]",
        "[(buf.validate.field).int32.gte = 0]",
        PROTO,
    )


def _yaml() -> Iterator[Entry]:
    yield Entry(
        "SG010",
        "The file is not YAML. Checking stops here, since nothing after it can be trusted.",
        "Fix the YAML.",
        "project: shop: mine",
        "project: shop",
    )
    yield Entry(
        "SG011",
        "A key appears twice in a mapping.",
        "Remove or rename one.",
        "deadline: 60s\n    deadline: 90s",
        "deadline: 60s",
    )
    yield Entry(
        "SG012",
        "There is no such key here. A near miss is checked as if it were right.",
        "Write the key that is suggested, or remove it.",
        "dedline: 60s",
        "deadline: 60s",
    )
    yield Entry(
        "SG013",
        "A key is missing.",
        "Add it.",
        "- name: look",
        "- name: look\n        call: inventory/GetStock",
    )
    yield Entry(
        "SG014",
        "A value of the wrong shape: a mapping in place of a list, a number in place of a text, or nothing.",
        "Write the shape that the message names; quote a text that looks like a number.",
        "deadline: [60s]",
        "deadline: 60s",
    )
    yield Entry(
        "SG015",
        "A word that is not allowed here.",
        "Write one that the message names.",
        "kind: pivoot",
        "kind: pivot",
    )
    yield Entry(
        "SG016",
        "Not a duration.",
        "Write a number and a unit: `50ms`, `2s`, `1m30s`, `24h`, `30d`.",
        "deadline: 60",
        "deadline: 60s",
    )
    yield Entry(
        "SG017",
        "A name that has anything but lower case letters, digits and underscores, or does not begin with a letter.",
        "Rename it.",
        "- name: reserve-stock",
        "- name: reserve_stock",
    )
    yield Entry(
        "SG018",
        "YAML that saga.yaml does not allow: merge keys, tags, keys that are not text, an alias inside its own anchor, "
        "half a character.",
        "Write the value out.",
        "project: !!str shop",
        "project: shop",
    )
    yield Entry(
        "SG019",
        "A number or duration out of range.",
        "Stay within the range that the message names.",
        "status: 404",
        "status: 201",
    )


SECTIONS = (
    Section("Files: SG001 to SG009", tuple(_files())),
    Section("saga.yaml: SG010 to SG019", tuple(_yaml())),
)
