"""``rondo org``: create a federation, launch and settle its rounds, take back what returns, serve what there is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from network.console import Output

app = typer.Typer(no_args_is_help=True)

Config = Annotated[Path | None, typer.Option(help="Settings file; ./rondo.toml by default.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
TestData = Annotated[Path | None, typer.Option(help="Held-out examples, a .npz with x and y; measured for the report.")]
PublicData = Annotated[
    Path | None,
    typer.Option(help="Unlabelled examples, a .npz with x; a task that distils learns from its committee on them."),
]

# The terms of a round, on every command that launches one.
Rate = Annotated[int, typer.Option(help="Base units of the token per credited compute millisecond.")]
MaxMillis = Annotated[int, typer.Option(help="Most compute milliseconds one client can record.")]
TimeCap = Annotated[int, typer.Option(help="Most milliseconds paid where pay is by time alone.")]
MaxUpdates = Annotated[int, typer.Option(help="Most updates; the last of them closes training.")]
Training = Annotated[int, typer.Option(help="Training window in seconds.")]
Settling = Annotated[int, typer.Option(help="Settlement window in seconds; more than the task's publication window.")]
Challenge = Annotated[int, typer.Option(help="Challenge window in seconds, for the auditors.")]
Bond = Annotated[int, typer.Option(help="Base units lost where the round is rejected or abandoned.")]
Fee = Annotated[int, typer.Option(help="Base units for each auditor that attests in time.")]


@app.command()
def create(
    task: Annotated[Path, typer.Option(help="The task, a TOML file.")],
    model: Annotated[Path, typer.Option(help="The first model: NAME.keras, or an architecture NAME.json.")],
    auditor: Annotated[
        list[str] | None, typer.Option(help="A named auditor: address or keystore file; repeat for more.")
    ] = None,
    quorum: Annotated[int | None, typer.Option(help="Attestations that decide; a majority by default.")] = None,
    unaudited: Annotated[bool, typer.Option("--unaudited", help="No auditors: our word alone decides on pay.")] = False,
    forfeit_to: Annotated[
        str | None, typer.Option(help="Receives forfeited bonds; by default an address nobody can spend from.")
    ] = None,
    # Fixed by default: with weights drawn anew each time, a repeated `create` would make a second federation.
    seed: Annotated[int, typer.Option(min=0, help="Initial weights of an architecture file.")] = 0,
    salt: Annotated[str | None, typer.Option(help="32 bytes in hex; for a second federation of equal terms.")] = None,
    config: Config = None,
    json_mode: Json = False,
) -> None:
    """Publish a task and a first model, and create their federation. Safe to repeat: it is created once."""
    from network.console import Output
    from organization.session import create_from_files

    output = Output(json_mode)
    output.result(
        create_from_files(
            config,
            task=task,
            model=model,
            auditors=auditor or [],
            quorum=quorum,
            unaudited=unaudited,
            forfeit_to=forfeit_to,
            seed=seed,
            salt=salt,
            say=output.say,
        )
    )


@app.command()
def launch(
    reward_per_milli: Rate = 1,
    max_millis: MaxMillis = 600_000,
    time_cap_millis: TimeCap = 60_000,
    max_updates: MaxUpdates = 100,
    training_seconds: Training = 3600,
    settlement_seconds: Settling = 3600,
    challenge_seconds: Challenge = 3600,
    bond: Bond = 0,
    attestation_fee: Fee = 0,
    consolidate: Annotated[bool, typer.Option("--consolidate", help="Renew importance and anchor (EWC).")] = False,
    config: Config = None,
    json_mode: Json = False,
) -> None:
    """Launch the configured federation's next round and put its reward, bond and fees into escrow."""
    from network.console import Output
    from organization.session import launch_once
    from protocol.terms import RoundTerms

    terms = RoundTerms(
        reward_per_milli,
        max_millis,
        time_cap_millis,
        max_updates,
        training_seconds,
        settlement_seconds,
        challenge_seconds,
        bond,
        attestation_fee,
        consolidate,
    )
    Output(json_mode).result(launch_once(config, terms))


@app.command()
def settle(
    round_reference: Annotated[
        str | None, typer.Argument(metavar="[ROUND]", help="Round id (0x…) or index; the latest round by default.")
    ] = None,
    test_data: TestData = None,
    public_data: PublicData = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the round can be settled.")] = False,
    config: Config = None,
    json_mode: Json = False,
) -> None:
    """Merge a round's updates, publish model and report, and state the result on chain.

    Needs nothing but chain and content store; safe to repeat. Exit code 75 where the round cannot be settled yet.
    """
    from network.console import Output
    from organization.session import settle_round

    output = Output(json_mode)
    view, settled = settle_round(
        config, round_reference, test_data=test_data, public_data=public_data, wait=wait, say=output.say
    )
    output.result(view)
    raise typer.Exit(0 if settled else 75)


@app.command()
def run(
    rounds: Annotated[int, typer.Option(min=0, help="How many rounds the federation shall have in all.")],
    consolidate: Annotated[str, typer.Option(help="Indices of the rounds that consolidate, such as 3,5.")] = "",
    test_data: TestData = None,
    public_data: PublicData = None,
    reward_per_milli: Rate = 1,
    max_millis: MaxMillis = 600_000,
    time_cap_millis: TimeCap = 60_000,
    max_updates: MaxUpdates = 100,
    training_seconds: Training = 3600,
    settlement_seconds: Settling = 3600,
    challenge_seconds: Challenge = 3600,
    bond: Bond = 0,
    attestation_fee: Fee = 0,
    config: Config = None,
    json_mode: Json = False,
) -> None:
    """Launch and settle rounds until the federation has had ROUNDS of them. Stop it or kill it, and start it again."""
    from network.console import Output
    from organization.session import parse_indices, run_rounds
    from protocol.terms import RoundTerms

    output = Output(json_mode)
    terms = RoundTerms(
        reward_per_milli,
        max_millis,
        time_cap_millis,
        max_updates,
        training_seconds,
        settlement_seconds,
        challenge_seconds,
        bond,
        attestation_fee,
        consolidate=False,
    )
    view = run_rounds(
        config,
        terms,
        rounds=rounds,
        consolidate=parse_indices(consolidate),
        test_data=test_data,
        public_data=public_data,
        say=output.say,
    )
    _show(output, view)


@app.command()
def admit(
    clients: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="The list: an address a line; # begins a comment.")
    ] = None,
    reopen: Annotated[bool, typer.Option("--open", help="Admit everybody again.")] = False,
    proofs: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write every client's proof there, as JSON.")
    ] = None,
    join: Annotated[
        bool,
        typer.Option("--join", help="Join everyone on the list now, a transaction each, so that clients need not."),
    ] = False,
    config: Config = None,
    json_mode: Json = False,
) -> None:
    """Admit only the clients of a list from the next launch on, or everybody again. Safe to repeat.

    The root of the list goes on chain; each client joins once with its proof (`rondo client join`), which it makes from
    the list or takes from FILE of --proofs or from `rondo org serve`. A round keeps the admission it was launched with.
    """
    from network.console import Output
    from organization.session import admit_clients

    output = Output(json_mode)
    output.result(admit_clients(config, clients, reopen=reopen, proofs=proofs, join=join, say=output.say))


@app.command()
def status(config: Config = None, json_mode: Json = False) -> None:
    """Show the configured federation and its rounds."""
    from network.console import Output
    from organization.session import read_status

    _show(Output(json_mode), read_status(config))


@app.command()
def withdraw(config: Config = None, json_mode: Json = False) -> None:
    """Take back what can no longer be owed to anyone, from all rounds; send lost bonds where they go."""
    from network.console import Output
    from organization.session import withdraw_all

    output = Output(json_mode)
    output.result(withdraw_all(config, output.say))


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    relay: Annotated[
        Path | None,
        typer.Option(
            metavar="KEYSTORE",
            help="Take clients' signed updates and pay their gas from this account; it needs no role.",
        ),
    ] = None,
    relay_anyone: Annotated[
        bool,
        typer.Option("--relay-anyone", help="Pay also in rounds that admit anyone, up to their maximum of updates."),
    ] = False,
    config: Config = None,
) -> None:
    """Serve federations, rounds and reports as JSON, read-only and without a key; /docs describes it.

    With --relay it also takes the updates of clients that have no gas (`rondo client run --relay URL`) and sends them in
    batches. What it can spend is what that account holds.
    """
    from network.console import Output
    from organization.session import serve_forever

    serve_forever(config, host, port, Output().say, relay=relay, anyone=relay_anyone)


def _show(output: Output, view: dict[str, Any]) -> None:
    from organization.status import render

    output.result(view, lambda: render(view))
