"""What commands show in a terminal."""

import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

if TYPE_CHECKING:
    from api.client import Client
    from memory_engine.backup import Manifest
    from memory_engine.erasure import ErasedAgain

_out = Console()
#: The columns of a bar: what is being done, how much of it is done, for how long.
_BAR = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
_POLL_SECONDS = 0.2


@contextmanager
def working(what: str) -> Iterator[None]:
    """A moving line on stderr while something takes its time."""
    with Console(stderr=True).status(f"{what} …"):
        yield


@contextmanager
def progress(what: str) -> Iterator[Callable[[str, int], None]]:
    """A bar on stderr for work of unknown size: what is being done, how much of it is done, for how long."""
    stderr = Console(stderr=True)
    with Progress(*_BAR, console=stderr, transient=True, disable=not stderr.is_terminal) as bar:
        task = bar.add_task(what, total=None)

        def advance(doing: str, done: int) -> None:
            bar.update(task, description=doing, advance=done)

        yield advance


def reindex(client: "Client", body: dict[str, Any]) -> dict[str, Any]:
    """Ask for a reindexing, and show on stderr how far it is until it is done."""
    stderr = Console(stderr=True)
    shown = Progress(*_BAR, console=stderr, transient=True, disable=not stderr.is_terminal)
    with ThreadPoolExecutor(1) as pool, shown as bar:
        task = bar.add_task("Reindexing", total=None)
        asked = pool.submit(client.call, "POST", "/v1/memory/reindex", body)
        while not wait([asked], timeout=_POLL_SECONDS).done:
            running = client.call("GET", "/v1/memory/reindex")
            if running["running"]:
                bar.update(task, description=running["what"], completed=running["done"], total=running["total"])
        done: dict[str, Any] = asked.result()
    return done


def print_reindexed(done: dict[str, Any]) -> None:
    """What a reindexing did."""
    before = "" if done["before"] == done["embedder"] else f" in place of {done['before']}"
    _out.print(f"{done['embedder']} serves{before}; {done['embedded']:,} messages were embedded.", highlight=False)


def print_json(value: Any) -> None:
    """The value as JSON, plain, for other programs."""
    _out.print(json.dumps(value, ensure_ascii=False, indent=2), markup=False, highlight=False, soft_wrap=True)


def print_hits(found: dict[str, Any], *, explain: bool) -> None:
    """Hits, best first."""
    if found["notice"]:
        _out.print(f"[yellow]{escape(found['notice'])}[/yellow]", highlight=False)
    if not found["hits"]:
        _out.print("Nothing relevant is remembered.")
    for hit in found["hits"]:
        who = hit["name"] or hit["role"]
        head = f"{hit['score']:.2f}  {hit['created_at'][:16].replace('T', ' ')}  {who} in {hit['conversation_id']}"
        _out.print(f"[bold]{escape(head)}[/bold]", highlight=False)
        _out.print("      " + escape(" ".join(hit["text"].split())), highlight=False)
        if explain:
            why = {name: value for name, value in hit["why"].items() if value}
            _out.print(f"      [dim]{escape(json.dumps(why, ensure_ascii=False))}[/dim]", highlight=False)
    if explain and found.get("funnel"):
        _out.print(f"[dim]{escape(json.dumps(found['funnel']))}[/dim]", highlight=False)


def print_links(links: list[dict[str, Any]]) -> None:
    """Links, strongest first, each with two messages that show it."""
    if not links:
        _out.print("No links yet: they are found in the background, once a conversation is quiet.")
    for link in links:
        words = f"  ({', '.join(link['evidence']['words'])})" if link["evidence"]["words"] else ""
        arrow = "→" if link["kind"] == "reference" else "–"
        head = f"{link['weight']:.2f}  {link['source']} {arrow} {link['target']}  {link['kind']}{words}"
        _out.print(f"[bold]{escape(head)}[/bold]  [dim]{link['id']} {link['state']}[/dim]", highlight=False)
        for pair in link["evidence"]["messages"][:1]:
            _print_quotes(pair)


def print_patterns(patterns: list[dict[str, Any]]) -> None:
    """Patterns, those seen last first, each with how often and since when."""
    if not patterns:
        _out.print("No patterns yet: they are learned in the background, once a conversation is quiet.")
    for pattern in patterns:
        seen = f"{pattern['support']}× {pattern['first_seen'][:10]} to {pattern['last_seen'][:10]}"
        state = "superseded" if pattern["superseded_by"] else pattern["state"]
        _out.print(f"[bold]{escape(pattern['kind'])}[/bold]  {escape(pattern['text'])}", highlight=False)
        _out.print(f"      [dim]{seen}  {state}  {pattern['id']}[/dim]", highlight=False)


def print_made_key(made: dict[str, Any]) -> None:
    """A key that was just made: alone on standard output, so that a script can take it."""
    console = Console(stderr=True)
    text = f"{made['id']} opens the namespace {made['namespace']} ({', '.join(made['scopes'])}). It is shown this once:"
    console.print(text, markup=False, highlight=False)
    _out.print(made["key"], markup=False, highlight=False, soft_wrap=True)


def print_keys(keys: list[dict[str, Any]]) -> None:
    """Keys, oldest first."""
    if not keys:
        _out.print("No keys yet: `memory-engine keys create` makes one.", markup=False)
    for key in keys:
        ends = f"revoked {key['revoked_at'][:16]}" if key["revoked_at"] else ""
        ends = ends or (f"until {key['expires_at'][:16]}" if key["expires_at"] else "does not expire")
        head = f"{key['prefix']}…  {key['namespace']}  {key['name']}  {', '.join(key['scopes'])}"
        _out.print(f"[bold]{escape(head)}[/bold]", highlight=False)
        _out.print(f"      [dim]{key['id']}  since {key['created_at'][:16]}, {ends}[/dim]", highlight=False)


def print_path(path: dict[str, Any]) -> None:
    """How two conversations are connected."""
    if not path["connected"]:
        _out.print(f"{path['source']} and {path['target']} are not connected.", markup=False, highlight=False)
    print_links(path["steps"]) if path["steps"] else None


def _print_quotes(pair: dict[str, Any]) -> None:
    for quote_ in (pair["source"], pair["target"]):
        said = " ".join(quote_["text"].split())[:160]
        line = f"{quote_['created_at'][:10]} {quote_['conversation_id']}: {said}"
        _out.print(f"      {escape(line)}", highlight=False)


def print_fate(fate: dict[str, Any]) -> None:
    """Where a message fell out, and the figures."""
    _out.print(f"[bold]{escape(fate['stage'])}[/bold]  {escape(fate['detail'])}", highlight=False)
    for title in ("figures", "why"):
        shown = {name: value for name, value in fate[title].items() if value}
        if shown:
            _out.print(f"      [dim]{title}: {escape(json.dumps(shown, ensure_ascii=False))}[/dim]", highlight=False)


def print_prompt(prompt: dict[str, Any]) -> None:
    """The messages of a prompt, and the account of them."""
    for message in prompt["messages"]:
        _out.print(f"[bold]{message['role']}[/bold]", highlight=False)
        _out.print(str(message["content"]), markup=False, highlight=False)
        _out.print()
    manifest = prompt["manifest"]
    table = Table("kind", "tokens", "why", title=f"{prompt['tokens']} of {manifest['token_budget']} tokens")
    for item in manifest["items"]:
        why = item["why"] if isinstance(item["why"], str) else json.dumps(item["why"], ensure_ascii=False)
        table.add_row(item["kind"], str(item["tokens"]), escape(why))
    _out.print(table)
    _out.print(f"left out: {len(manifest['left_out'])}   manifest: {prompt['manifest_id']}", highlight=False)


def print_receipt(receipt: dict[str, Any]) -> bool:
    """What was erased and what a scan found of it; whether it found nothing."""
    went = ", ".join(f"{count:,} {place}" for place, count in receipt["counts"].items() if count)
    _out.print(f"{receipt['receipt_id']}: {receipt['kind']}, {receipt['state']}; went: {went}", highlight=False)
    scan = receipt["scan"]
    if scan is None:
        return False
    looked = f"{scan['canaries']:,} pieces were looked for in {scan['files']} files, {scan['bytes']:,} bytes"
    _out.print(f"{looked}: {scan['found']:,} found", highlight=False)
    if scan["found"]:
        _out.print(f"in {', '.join(scan['found_in'])}", highlight=False, markup=False)
    if scan["said_elsewhere"]:
        where = ", ".join(f"{table} ({count})" for table, count in scan["said_elsewhere"].items())
        _out.print(f"the same words stand in what was not erased: {where}", highlight=False)
    _out.print(f"not in reach: {'; '.join(scan['not_in_reach'])}", highlight=False)
    return not scan["found"]


def print_backup(what: str, manifest: "Manifest") -> None:
    """What a backup holds."""
    held = f"{manifest.rows('assistant_threads'):,} conversations, {manifest.rows('chat_messages'):,} messages"
    made = f"schema {manifest.schema}, from {manifest.database} at {manifest.made_at[:19]}Z"
    _out.print(f"{what} {held} ({made}).", markup=False, highlight=False, soft_wrap=True)


def print_erased_again(again: "ErasedAgain") -> None:
    """What did not come back with a backup, and the receipts of it."""
    if again.receipt_ids:
        went = [f"{n:,} {what}" for n, what in ((again.messages, "messages"), (again.users, "whole users")) if n]
        text = f"Erased before, and so erased again: {' and '.join(went)}; receipts {', '.join(again.receipt_ids)}."
        _out.print(text, markup=False, highlight=False, soft_wrap=True)


#: What `restore` carried along, in the order of its output.
_CARRIED = {
    "holds": "Still on hold: {:,} conversations.",
    "quarantines": "Still quarantined: {:,} conversations and messages.",
    "keys_revoked": "Still revoked: {:,} API keys.",
    "keys_expire_earlier": "Keep their earlier expiry: {:,} API keys.",
    "keys_deleted": "Revoked, because the store did not have them any more, or not like this: {:,} API keys.",
    "keys_missing": "Made after the backup, and therefore gone: {:,} API keys.",
    "keys_valid": "Valid API keys in the restored store: {:,} (`memory-engine keys list` shows them).",
}


def print_carried(counts: Mapping[str, int]) -> None:
    """Print the holds, quarantines and revocations of the store before that a restore applied."""
    for kind, sentence in _CARRIED.items():
        if counts.get(kind):
            _out.print(sentence.format(counts[kind]), markup=False, highlight=False, soft_wrap=True)


def print_pruned(done: dict[str, Any]) -> None:
    """What a pruning took, or would take, rule by rule."""
    if not done["data"]:
        _out.print("Nothing goes by this policy.")
        return
    table = Table("stratum", "rule", "what", "rows", "bytes", title="A dry run" if done["dry_run"] else "Pruned")
    for share in done["data"]:
        what = "marked" if share["action"] == "mark" else "removed"
        table.add_row(share["stratum"], escape(share["rule"]), what, f"{share['rows']:,}", f"{share['bytes']:,}")
    _out.print(table)
    print_index_pending(done)


def print_index_pending(done: dict[str, Any]) -> None:
    """Print how many changes the vector index has still to follow, if any."""
    if pending := done.get("index_pending"):
        _out.print(f"The vector index has still to follow {pending:,} changes: it does so when it answers again.")


def print_findings(findings: list[dict[str, Any]]) -> bool:
    """The doctor's findings; returns whether all is well now."""
    for finding in findings:
        mark = "[green]ok[/green]" if finding["healthy"] else "[red]!![/red]"
        mended = f" ({finding['repaired']} repaired)" if finding["repaired"] else ""
        _out.print(f"{mark}  {finding['check']}: {escape(finding['detail'])}{mended}", highlight=False)
        if finding["advice"] and not finding["healthy"]:
            _out.print(f"    {escape(finding['advice'])}", highlight=False)
    return all(finding["healthy"] for finding in findings)
