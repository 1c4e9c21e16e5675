"""`proteinlm push` and `proteinlm pull`: to the Hub and from it."""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from proteinlm_ext.commands import Add
from proteinlm_ext.errors import ProteinLMError, UsageError

KINDS = ("dataset", "model", "overlay", "card")
PUSH_EXAMPLES = """
examples:
  # What would be sent; nothing is
  proteinlm push dataset data/mine OWNER/NAME

  # Into a private repository, as one commit with a tag
  proteinlm push dataset data/mine OWNER/NAME --yes

  # A pull request to a model's card
  proteinlm push card exported/adapter OWNER/NAME --create-pr --yes

Token and address are those of the Hub's own tools: HF_TOKEN or `hf auth login`, HF_ENDPOINT.
"""
PULL_EXAMPLE = "proteinlm pull dataset OWNER/NAME --revision TAG --out data/theirs"


def add_push(add: Add) -> None:
    """Add `push` and `pull`."""
    parser = add(
        "push", _push, "Publish a dataset, model, overlay or card; without --yes, show the plan.",
        PUSH_EXAMPLES,
    )  # fmt: skip
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("repo", metavar="OWNER/NAME")
    sent = parser.add_mutually_exclusive_group()
    sent.add_argument("--yes", action="store_true", help="Send it")
    sent.add_argument(
        "--dry-run", action="store_true", help="Show the plan alone, as without --yes"
    )
    seen = parser.add_mutually_exclusive_group()
    seen.add_argument("--private", action="store_true", help="As every new repository is")
    seen.add_argument("--public", action="store_true", help="Visible to all, when all is there")
    place = parser.add_mutually_exclusive_group()
    place.add_argument("--revision", default="main", metavar="BRANCH", help="Default: main")
    place.add_argument("--create-pr", action="store_true", help="A pull request instead of main")
    parser.add_argument("--tag", metavar="TAG", help="Default, on main: by the content")
    parser.add_argument("--commit-message", metavar="TEXT", help="Default: kind and content")
    parser.add_argument("--json", action="store_true", help="Plan and outcome as JSON on stdout")
    parser.add_argument(
        "--allow-answers", action="store_true",
        help="Let keys and explanations of a benchmark pass in logged samples",
    )  # fmt: skip
    fetch = add("pull", _pull, "Fetch what was published, and verify every file.", PULL_EXAMPLE)
    fetch.add_argument("kind", choices=KINDS[:2])
    fetch.add_argument("repo", metavar="OWNER/NAME")
    fetch.add_argument("--revision", metavar="REV", help="Branch, tag or commit; default: main")
    fetch.add_argument("--out", required=True, type=Path, metavar="FOLDER")


def _push(options: argparse.Namespace) -> int:
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import OIDCError

    from proteinlm_hub.push import Order, describe_ready, prepare, publish

    if options.create_pr and (options.tag or options.public or options.private):
        raise UsageError("--create-pr does not go with --tag, --public or --private.")
    if options.public and options.revision != "main":
        raise UsageError("--public shows main as well: it does not go with --revision.")
    try:
        token = get_token()
    except OIDCError as error:  # of a trusted publisher
        raise ProteinLMError(f"HF_OIDC_RESOURCE is set, but gives no token: {error}") from error
    if not token:
        raise ProteinLMError("There is no token. Set HF_TOKEN, or run `hf auth login`.")
    if not token.isascii():
        raise ProteinLMError("The token has letters that no token has. Look at HF_TOKEN.")
    start, api = time.monotonic(), HfApi(library_name="proteinlm-ext")
    order = Order(
        folder=options.folder,
        kind=options.kind,
        repo_id=options.repo,
        revision=options.revision,
        create_pr=options.create_pr,
        tag=options.tag,
        message=options.commit_message,
        private=True if options.private else False if options.public else None,
        allow_answers=options.allow_answers,
    )
    with tempfile.TemporaryDirectory(prefix="proteinlm-push-") as work:
        ready = prepare(api, order, Path(work) / "staged")
        if not options.json:
            print(describe_ready(ready, api))
        outcome = publish(api, ready, say=_say) if options.yes else None
    seconds = round(time.monotonic() - start, 3)
    if options.json:
        print(json.dumps(_to_data(ready, outcome, seconds), indent=1))
    elif outcome is None:
        print("Nothing was sent: this is a dry run. Add --yes to send it.")
    else:
        done = "one commit" if outcome.commits else "no commit: it was there already"
        state = "private" if outcome.private else "public"
        print(f"{outcome.url}\ncommit {outcome.commit} ({done}), tag {outcome.tag or '-'}, {state}")
        print(f"{seconds:.1f} s")
    return 0


def _to_data(ready: Any, outcome: Any, seconds: float) -> dict[str, Any]:
    from proteinlm_ext.tables import to_data

    return {
        "plan": to_data(ready.plan),
        "rows_left_out": to_data(ready.staged.rows_left_out),
        "outcome": outcome and to_data(outcome),
        "seconds": seconds,
    }


def _pull(options: argparse.Namespace) -> int:
    from huggingface_hub import HfApi

    from proteinlm_hub.pull import pull

    api = HfApi(library_name="proteinlm-ext")
    found = pull(api, options.kind, options.repo, options.out, options.revision)
    print(
        f"{options.out}: commit {found.commit}, {found.files} files of {found.size:,} bytes as "
        f"manifest.json lists them{' (it was there already)' if found.was_there else ''}"
    )
    return 0


def _say(text: str) -> None:
    print(f"proteinlm: {text}", file=sys.stderr)
