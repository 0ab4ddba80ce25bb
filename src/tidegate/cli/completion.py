"""``tidegate completion``: the script that a shell sources."""

import click


@click.command(name="completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script for a shell.

    \b
    Examples:
      source <(tidegate completion bash)
      tidegate completion fish > ~/.config/fish/completions/tidegate.fish
    """
    from click.shell_completion import get_completion_class

    from tidegate.cli.main import cli

    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"no completion for {shell}")
    click.echo(kind(cli, {}, "tidegate", "_TIDEGATE_COMPLETE").source())
