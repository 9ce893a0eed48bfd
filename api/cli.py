"""The command line. Heavy imports stand inside the commands, so that --help answers at once."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

app = typer.Typer(
    help="A memory that conversations can live in.", no_args_is_help=True, add_completion=False,
    pretty_exceptions_enable=False,
)  # fmt: skip
db_app = typer.Typer(help="Schema migrations.", no_args_is_help=True)
app.add_typer(db_app, name="db")
links_app = typer.Typer(help="What joins conversations.", no_args_is_help=True)
app.add_typer(links_app, name="links")
keys_app = typer.Typer(help="API keys, each of one namespace.", no_args_is_help=True)
app.add_typer(keys_app, name="keys")


def _folder(text: str) -> Path:
    """Read a folder's name; an empty one, as of a shell variable that is not set, would be the current folder."""
    if not text.strip():
        raise typer.BadParameter("The name of the data directory is empty.")
    return Path(text)


DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir", metavar="PATH", parser=_folder,
        help="Where the store is; MEMORY_ENGINE_DATA_DIR or ./memory-data unless given.",
    ),
]  # fmt: skip
NamespaceName = Annotated[str | None, typer.Option("--namespace", help="Whose memory; `default` unless given.")]


def main() -> None:
    """Run a command; a mistake gives one line on stderr and exit code 2."""
    os.umask(0o077)  # what commands and the service write, and what libraries write for them, is its owner's alone
    try:
        sys.exit(app(standalone_mode=False))
    except KeyboardInterrupt:
        sys.exit(130)
    except typer.TyperException as exc:  # the command line itself is wrong
        _refuse(exc.format_message())
    except Exception as exc:
        from api.client import is_told  # imported by then wherever one of our errors can come from

        if not is_told(exc):
            raise
        _refuse(str(exc))


def _refuse(why: str) -> NoReturn:
    if why:  # without arguments the help was printed instead
        from memory_engine.redaction import redact

        typer.echo(f"memory-engine: {redact(' '.join(why.split()))}", err=True)
    sys.exit(2)


def _confirm(question: str) -> None:
    """Go on after a yes alone; a no ends the command with code 1, and where nobody answers it is refused."""
    try:
        sure = typer.confirm(question, err=True)
    except typer.Abort:
        typer.echo(err=True)  # ends the line of the question
        _refuse("Not confirmed; nothing was changed. Use --yes to skip the prompt.")
    if not sure:
        typer.echo("memory-engine: Nothing was changed.", err=True)
        raise typer.Exit(1)


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 takes a free one.")] = 8000,
    data_dir: DataDir = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="Load the sample conversations when the store is empty.")
    ] = False,
    workers: Annotated[int, typer.Option(min=1, help="Processes; more than one needs servers for SQL and Chroma.")] = 1,
) -> None:
    """Run the service and the web console."""
    from api.server import run_server
    from assistant import load_settings

    run_server(load_settings(data_dir=data_dir), host=host, port=port, demo=demo, workers=workers)


@app.command()
def recall(
    query: Annotated[str, typer.Argument(help="A question or some words.")],
    k: Annotated[int, typer.Option("-k", help="How many hits at most.")] = 10,
    explain: Annotated[bool, typer.Option("--explain", help="Show why each was found.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Search the history."""
    from api import console
    from api.client import open_client

    with open_client(data_dir) as client:
        found = client.call("POST", "/v1/memory/recall", {"query": query, "k": k, "explain": explain})
    console.print_json(found) if as_json else console.print_hits(found, explain=explain)


@app.command("why-not")
def why_not(
    message_id: Annotated[str, typer.Argument(help="The message that was expected.")],
    query: Annotated[str, typer.Argument(help="The question that did not bring it.")],
    k: Annotated[int, typer.Option("-k", help="How many hits were asked for.")] = 10,
    budget: Annotated[int | None, typer.Option(help="Tokens that the hits may take together.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Say at which stage a message falls out of a search, and by how much."""
    from api import console
    from api.client import open_client

    body = {"message_id": message_id, "query": query, "k": k, "token_budget": budget}
    with open_client(data_dir) as client:
        console.print_fate(client.call("POST", "/v1/memory/recall/why-not", body))


@app.command()
def context(
    conversation_id: Annotated[str, typer.Argument(metavar="ID", help="The conversation; it may be new.")],
    message: Annotated[str, typer.Argument(help="What the person says.")],
    budget: Annotated[int, typer.Option(help="Tokens that the prompt may take.")] = 2000,
    data_dir: DataDir = None,
) -> None:
    """Print the prompt that would be sent, and why each part is there."""
    from api import console
    from api.client import open_client

    body = {"conversation_id": conversation_id, "message": message, "token_budget": budget}
    with open_client(data_dir) as client:
        console.print_prompt(client.call("POST", "/v1/memory/context", body))


@app.command()
def chat(
    conversation: Annotated[str | None, typer.Option(help="Go on with this conversation.")] = None,
    agent: Annotated[str | None, typer.Option(help="greeter, spec or pm.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Talk in the terminal; /help lists its commands, such as /recall, /why, /agent and /forget."""
    from api import chat_console
    from api.client import open_client

    with open_client(data_dir) as client:
        chat_console.chat(client, conversation, agent)


@app.command()
def doctor(
    repair: Annotated[bool, typer.Option("--repair", help="Remake what is missing or wrong.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Check that everything derived matches the messages."""
    from api import console
    from api.client import open_client

    with open_client(data_dir) as client, console.progress("Examining") as progress:
        findings = client.examine(repair=repair, progress=progress)
    if not console.print_findings(findings):
        raise typer.Exit(1)


@app.command()
def erase(  # noqa: PLR0913  (one for each option)
    what: Annotated[str | None, typer.Argument(help="message, conversation, user or namespace.")] = None,
    names: Annotated[list[str] | None, typer.Argument(metavar="ID…", help="Which; of messages several.")] = None,
    of_user: Annotated[str | None, typer.Option("--of-user", help="Whose a message or conversation is.")] = None,
    verify: Annotated[str | None, typer.Option(metavar="RECEIPT", help="Look again for what was erased then.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    namespace: NamespaceName = None,
    data_dir: DataDir = None,
) -> None:
    """Erase messages, a conversation, a whole user or a whole namespace for good, and scan the files for traces."""
    from api import console, erasing
    from api.client import open_client

    if verify is not None:
        erasing.check_alone(verify, what, of_user)
        body = None
    else:
        body = erasing.body_of(what, names or [], of_user, namespace)
        if not yes:
            _confirm(erasing.question_of(body, namespace))
    with open_client(data_dir, namespace=namespace) as client, console.working("Looking through every byte"):
        receipt = erasing.proved(client, verify, body)
    if not console.print_receipt(receipt):
        raise typer.Exit(1)


@app.command()
def prune(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what would go, and change nothing.")] = False,
    policy: Annotated[
        Path | None, typer.Option(help="A file of rules, .toml or .json; the policy in force unless given.")
    ] = None,
    archive: Annotated[
        Path | None, typer.Option(help="First write the messages that wait for their removal to this new file.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,
    namespace: NamespaceName = None,
    data_dir: DataDir = None,
) -> None:
    """Apply the retention policy. Deleted messages can be restored for a few days."""
    from api import console, new_file
    from api.client import open_client, read_policy_file

    body = {"dry_run": dry_run, **({} if policy is None else {"policy": read_policy_file(policy)})}
    with open_client(data_dir, any_embedder=True, namespace=namespace) as client, console.working("Pruning"):
        if archive is not None:
            new_file.write(archive, client.pruned(), Path.stat)
        done = client.call("POST", "/v1/memory/prune", body)
    console.print_json(done) if as_json else console.print_pruned(done)


@app.command()
def unprune(
    message_ids: Annotated[list[str] | None, typer.Argument(metavar="ID…", help="Messages.")] = None,
    conversation: Annotated[str | None, typer.Option(help="All of this conversation instead.")] = None,
    since: Annotated[str | None, typer.Option(help="All that was pruned from this time on instead.")] = None,
    of_user: Annotated[str | None, typer.Option("--of-user", help="Whose messages.")] = None,
    namespace: NamespaceName = None,
    data_dir: DataDir = None,
) -> None:
    """Bring back what was pruned and is not removed yet; with --since of every user, unless one is named."""
    from api import console
    from api.client import open_client

    everybodys = {"scope": "namespace"} if since is not None and of_user is None else {}
    named = {"message_ids": message_ids or None, "conversation_id": conversation, "since": since, "user": of_user}
    body = {name: value for name, value in named.items() if value is not None} | everybodys
    with open_client(data_dir, any_embedder=True, namespace=namespace) as client, console.working("Bringing back"):
        back = client.call("POST", "/v1/memory/restore", body)
    advice = "Pin or hold them, or change the policy, or the next pruning takes them."
    typer.echo(f"{back['restored']:,} messages are back. {advice}")
    console.print_index_pending(back)


@app.command()
def reindex(
    embedder: Annotated[
        str | None, typer.Option(help="static, minilm or openai:MODEL; the one in use unless given.")
    ] = None,
    rollback: Annotated[bool, typer.Option("--rollback", help="Go back to the embedder before.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Make every vector anew; the old ones serve until the new ones are whole, and stay for --rollback."""
    from api import console
    from api.client import open_client

    with open_client(data_dir, any_embedder=True) as client:
        console.print_reindexed(console.reindex(client, {"embedder": embedder, "rollback": rollback}))


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(help="The file to write; it must not be there yet.")],
    data_dir: DataDir = None,
) -> None:
    """Write a consistent copy of the whole store to a file, while the service serves."""
    from api import backups, console
    from api.client import open_client

    with open_client(data_dir, any_embedder=True) as client, console.progress("Backing up") as progress:
        manifest = backups.write(file, client.backup(progress), progress)
    console.print_backup(f"{file} holds", manifest)


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="A file that `backup` wrote.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Delete what the store holds now, and put the backup in its place.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Bring a backup back into a store that no service runs on, on either database."""
    from api import backups, console
    from assistant import load_settings

    settings = load_settings(data_dir=data_dir)
    if replace and not yes:
        _confirm(f"Delete everything in {backups.place_of(settings)} and restore {file} there?")
    with console.progress("Restoring") as progress:
        restored = backups.restore(settings, file, replace=replace, progress=progress)
    console.print_backup(f"{file} is restored:", restored.manifest)
    console.print_erased_again(restored.erased_again)
    console.print_carried(restored.carried)
    typer.echo("The vector index is not in a backup: it is rebuilt in the background when the store is next opened.")
    if settings.chroma_url is not None:
        typer.echo("The Chroma server keeps the vectors of the store before until then.")


@app.command()
def patterns(
    kind: Annotated[str | None, typer.Option(help="statement, question, topic, tool_sequence …; else all.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Also what was superseded or dismissed.")] = False,
    confirm: Annotated[
        str | None, typer.Option(metavar="ID", help="Confirm a pattern. A proposed rule is in force from then on.")
    ] = None,
    dismiss: Annotated[str | None, typer.Option(metavar="ID", help="Dismiss a pattern.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Show what repeats, and what people state of themselves, or judge one pattern."""
    from urllib.parse import quote, urlencode

    from api import console
    from api.client import open_client

    asked = {"everything": str(everything).lower(), **({} if kind is None else {"kind": kind})}
    judged = {each: name for each, name in (("confirm", confirm), ("dismiss", dismiss)) if name is not None}
    with open_client(data_dir) as client:
        for judgement, name in judged.items():
            path = f"/v1/memory/patterns/{quote(name, safe='')}/{judgement}"
            console.print_patterns([client.call("POST", path, {})])
        if not judged:
            console.print_patterns(client.call("GET", f"/v1/memory/patterns?{urlencode(asked)}")["data"])


@links_app.command("show")
def links_show(
    conversation_id: Annotated[str, typer.Argument(metavar="ID", help="The conversation.")],
    to: Annotated[str | None, typer.Option(help="Show how it is connected with this conversation.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Show what joins a conversation to others, with the messages that show it."""
    from urllib.parse import quote, urlencode

    from api import console
    from api.client import open_client

    with open_client(data_dir) as client:
        if to is None:
            path = f"/v1/memory/conversations/{quote(conversation_id, safe='')}/links"
            console.print_links(client.call("GET", path)["data"])
        else:
            asked = urlencode({"source": conversation_id, "target": to})
            console.print_path(client.call("GET", f"/v1/memory/path?{asked}"))


@keys_app.command("create")
def keys_create(  # noqa: PLR0913  (one for each option)
    namespace: Annotated[str, typer.Option(help="Whose memory it opens.")] = "default",
    name: Annotated[str, typer.Option(help="What you call it.")] = "key",
    scope: Annotated[
        list[str] | None, typer.Option(help="read, write or admin; may be repeated. read and write unless given.")
    ] = None,
    expires: Annotated[str | None, typer.Option(help="When it ends, as an ISO time; never unless given.")] = None,
    requests: Annotated[int | None, typer.Option(min=1, help="Requests a minute; as in the settings else.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Make a key and print it; it is shown this once."""
    from api import console
    from api.client import open_client

    given = {"scopes": scope, "expires_at": expires, "requests_per_minute": requests}
    body = {"namespace": namespace, "name": name, **{key: value for key, value in given.items() if value is not None}}
    with open_client(data_dir, any_embedder=True) as client:
        made = client.call("POST", "/v1/keys", body)
    console.print_json(made) if as_json else console.print_made_key(made)


@keys_app.command("list")
def keys_list(
    namespace: Annotated[str | None, typer.Option(help="Only those of this namespace.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Show the keys: their beginnings, what they may do, and until when."""
    from urllib.parse import urlencode

    from api import console
    from api.client import open_client

    asked = "" if namespace is None else "?" + urlencode({"namespace": namespace})
    with open_client(data_dir, any_embedder=True) as client:
        found = client.call("GET", f"/v1/keys{asked}")["data"]
    console.print_json(found) if as_json else console.print_keys(found)


@keys_app.command("revoke")
def keys_revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The key's id, as `keys list` shows it.")],
    data_dir: DataDir = None,
) -> None:
    """Revoke an API key."""
    from urllib.parse import quote

    from api import console
    from api.client import open_client
    from memory_engine.checks import check_target

    check_target(key_id, "The key's id")
    with open_client(data_dir, any_embedder=True) as client:
        console.print_keys([client.call("DELETE", f"/v1/keys/{quote(key_id, safe='')}")])


@db_app.command("upgrade")
def db_upgrade(data_dir: DataDir = None) -> None:
    """Bring the database to the newest schema."""
    from api.bootstrap import open_database
    from assistant import load_settings
    from memory_engine.errors import StoreInUse
    from memory_engine.storage import migrations

    try:
        with open_database(load_settings(data_dir=data_dir)) as database:
            changed = migrations.upgrade(database)
        typer.echo(f"schema {migrations.HEAD}" + ("" if changed else ", nothing to do"))
    except StoreInUse:
        typer.echo(f"schema {_running_schema(data_dir)}, nothing to do: the running service brought it there")


@db_app.command("current")
def db_current(data_dir: DataDir = None) -> None:
    """Print the schema that the database has."""
    from api.bootstrap import open_database
    from assistant import load_settings
    from memory_engine.errors import StoreInUse
    from memory_engine.storage import migrations

    try:
        with open_database(load_settings(data_dir=data_dir)) as database:
            typer.echo(migrations.current(database) or "empty")
    except StoreInUse:
        typer.echo(_running_schema(data_dir))


def _running_schema(data_dir: Path | None) -> str:
    from api.client import open_client

    with open_client(data_dir) as client:
        detail: str = client.call("GET", "/ready")["parts"]["database"]["detail"]
    return detail.rpartition("schema ")[2]


@db_app.command("history")
def db_history() -> None:
    """Print every schema and what it brought."""
    from memory_engine.storage import migrations

    rows: list[Any] = migrations.history()
    for revision, what in rows:
        typer.echo(f"{revision}  {what}")
