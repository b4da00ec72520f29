"""Runs the public validator of the IIIF Image API (`iiif-validator` 1.0.5) on a server.

    validator.py picture OUT                 writes the picture its tests expect, as .png, .jpg or .jp2
    validator.py run BASE IDENTIFIER SEED... runs all its tests at BASE/iiif/2 and BASE/iiif/3

`run` prints one JSON object a test: version, seed, test, level, outcome and message. Outcomes:

    pass          the test passes
    fail          it does not
    not offered   it asks for a format that the server's info.json does not list
    contradicted  one step of it demands what the published text forbids (CONTRADICTIONS below): the test
                  fails, and passes without that step

The validator dates from 2019. PATCHES lists what it needs on a current Python, and why.
"""

import contextlib
import importlib
import io
import json
import pathlib
import random
import sys
import types
import urllib.error
import urllib.request

# (module, text, replacement, how often the text occurs, why)
PATCHES = [
    (
        "validator",
        'self.version in ("2.0", "3.0")',
        'self.version in ("2.0", "2.1", "3.0")',
        3,
        "version 2.1 has the addresses of version 2.0, not those of 1.1",
    ),
    (
        "validator",
        "timeout=5)",
        "timeout=60)",
        1,
        "a test machine may be busy with other tests",
    ),
    (
        "tests.format_webp",
        '!= "WEBP"',
        '!= b"WEBP"',
        1,
        "a reply is bytes in Python 3",
    ),
    (
        "tests.baseurl_redirect",
        "ValidatorError('redirect', u, ",
        "ValidatorError('redirect', url, ",
        1,
        "the name u does not exist",
    ),
    (
        "tests.baseurl_redirect",
        "result, 'Failed to redirect from {} to {}/info.json. Response code {}'.format(u, ",
        "result, 'Failed to redirect from {} to {}/info.json. Response code {}'.format(url, ",
        1,
        "the name u does not exist",
    ),
    (
        "tests.size_noup",
        "raise ValidatorError()",
        "raise ValidatorError('size', result.last_status, 400, result)",
        1,
        "the exception cannot be made without arguments",
    ),
]

# (version, test): (step, replacement, why)
CONTRADICTIONS = {
    ("3.0", "size_noup"): (
        "self.checkSize(result, '!2000,3000')",
        "pass",
        "Image API 3.0, section 4.2: !w,h without ^ must not exceed the extracted region; it is no error",
    ),
    ("3.0", "size_up"): (
        "self.checkSize(result, (1000, 1000), '^max', ",
        "_ = (",
        "Image API 3.0, section 4.2: ^max is scaled to the maximum size of info.json, above 1000 here",
    ),
}

# Tests of formats, and the format each asks for.
FORMATS = {
    "format_gif": "gif",
    "format_jp2": "jp2",
    "format_pdf": "pdf",
    "format_tif": "tif",
    "format_webp": "webp",
}


class Magic:
    """The one call of the `file` library's interface that the validator uses."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def id_buffer(self, data):
        for start, name in ((b"\0\0\0\x0cjP  ", "JPEG 2000"), (b"%PDF-", "PDF document")):
            if data.startswith(start):
                return name
        return "data"


def load():
    """Imports the validator and patches it."""
    # Python 3 has this function in a module of its own.
    urllib.urlopen = urllib.request.urlopen
    # Some Pythons no longer give this name a second home.
    urllib.request.HTTPError = urllib.error.HTTPError
    # Its authors meant another package of this name than the one they depend on; neither works without a
    # system library.
    sys.modules["magic"] = types.ModuleType("magic")
    sys.modules["magic"].Magic = Magic
    # A module of the validator greets on standard output.
    with contextlib.redirect_stdout(io.StringIO()):
        validator = importlib.import_module("iiif_validator.validator")
        for name in dict.fromkeys(patch[0] for patch in PATCHES):
            module = importlib.import_module(f"iiif_validator.{name}")
            run_source(module, [patch[1:4] for patch in PATCHES if patch[0] == name])
    return validator


def run_source(module, changes):
    """Runs the text of a module again, changed."""
    text = pathlib.Path(module.__file__).read_text(encoding="utf-8")
    # Changes of a contradicted step come on top of the patches.
    for old, new, count in changes:
        found = text.count(old)
        if found != count:
            sys.exit(f"{module.__file__}: {old!r} occurs {found} times, expected {count}: "
                     "is this iiif-validator 1.0.5?")
        text = text.replace(old, new)
    exec(compile(text, module.__file__, "exec"), module.__dict__)


def picture(validator, path):
    """Ten by ten squares of 100 pixels, in the colors the tests compare with."""
    colors = validator.ValidationInfo().colorInfo
    image = validator.Image.new("RGB", (1000, 1000))
    for col, column in enumerate(colors):
        for row, color in enumerate(column):
            image.paste(color, (100 * col, 100 * row, 100 * col + 100, 100 * row + 100))
    # JPEG at full resolution of its colors; JPEG 2000 is lossless unless told otherwise.
    image.save(path, **({"quality": 95, "subsampling": 0} if path.endswith(".jpg") else {}))


def offered_formats(validator, api):
    """The formats that info.json lists, besides those every level 2 server has."""
    info = api.get_info()
    if info is None:
        sys.exit(f"no info.json at {api.make_info_url()}")
    profiles = info["profile"] if isinstance(info["profile"], list) else []
    lists = [info.get("extraFormats", [])]
    lists += [profile.get("formats", []) for profile in profiles if isinstance(profile, dict)]
    return {"jpg", "png"}.union(*lists)


def run_test(validator, api, name):
    """Runs one test: None if it passes, else what is wrong."""
    suite = validator.TestSuite(validator.ValidationInfo())
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            suite.run_test(name, api)
    except Exception as error:  # whatever a test raises is its verdict
        return f"{type(error).__name__}: {error} ({api.last_url})"
    if api.exception is not None:
        return f"{api.exception} ({api.last_url})"
    return None


def judge(validator, make_api, version, name, offered):
    """Outcome and message of one test."""
    if FORMATS.get(name, "jpg") not in offered:
        return "not offered", FORMATS[name]
    state = random.getstate()
    complaint = run_test(validator, make_api(), name)
    contradiction = CONTRADICTIONS.get((version, name))
    if contradiction is None:
        return ("pass", "") if complaint is None else ("fail", complaint)
    step, replacement, why = contradiction
    if complaint is None:
        return "fail", f"passes, although it was expected to contradict: {why}"
    module = importlib.import_module(f"iiif_validator.tests.{name}")
    patches = [patch[1:4] for patch in PATCHES if patch[0] == f"tests.{name}"]
    run_source(module, [*patches, (step, replacement, 1)])
    random.setstate(state)
    rest = run_test(validator, make_api(), name)
    run_source(module, patches)
    return ("contradicted", why) if rest is None else ("fail", rest)


def run(validator, base, identifier, seeds):
    scheme, server = base.split("://")
    suite = validator.TestSuite(validator.ValidationInfo())
    # Of version 2.1 the validator knows only what is new in it.
    for version, lists in (("2.0", ["2.0"]), ("2.1", ["2.0", "2.1"]), ("3.0", ["3.0"])):

        def make_api():
            return validator.ImageAPI(
                identifier, server, f"iiif/{version[0]}", scheme, "", version, debug=False
            )

        tests = {}
        for listed in lists:
            tests.update(suite.list_tests(listed))
        offered = offered_formats(validator, make_api())
        for seed in seeds:
            random.seed(int(seed))
            for name in sorted(tests):
                outcome, message = judge(validator, make_api, version, name, offered)
                line = {
                    "version": version,
                    "seed": int(seed),
                    "test": name,
                    "level": tests[name]["level"],
                    "outcome": outcome,
                    "message": message,
                }
                print(json.dumps(line), flush=True)


def main(arguments):
    match arguments:
        case ["picture", path]:
            picture(load(), path)
        case ["run", base, identifier, *seeds] if seeds:
            run(load(), base, identifier, seeds)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
