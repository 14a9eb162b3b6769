"""manage.py search [--agent NAME] [-k N] [--json] "query" """

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from agents.lookup import AgentLookupError, find_agent
from arcweb.forms import parse_json_object
from memories.providers import get_provider, load_model_here_if_alone
from memories.search import MODES, Filters, SearchInputError, search


class Command(BaseCommand):
    help = "Searches memories by meaning. Exit code 0 also when nothing is found."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("query")
        parser.add_argument("--agent", help="the agent's name or id; without it all agents")
        parser.add_argument("--type", default="", help="only agents of this type")
        parser.add_argument(
            "--metadata", default="{}", help="only memories whose metadata contains this: '{\"a\": 1}'"
        )
        parser.add_argument("-k", type=int, default=10, help="results at most (default: 10)")
        parser.add_argument("--mode", choices=list(MODES), default="semantic")
        parser.add_argument(
            "--json", action="store_true", help="a list of {id, content, similarity, metadata}"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        load_model_here_if_alone()
        try:
            agent = find_agent(options["agent"]) if options["agent"] is not None else None
            filters = Filters(
                agent.pk if agent else None, options["type"], parse_json_object(options["metadata"])
            )
            result = search(
                options["query"], get_provider(), filters=filters, k=options["k"], mode=options["mode"]
            )
        except (AgentLookupError, SearchInputError, ValueError) as error:
            raise CommandError(str(error)) from error
        if result.note:
            self.stderr.write(result.note)
        if options["json"]:
            self.stdout.write(
                json.dumps([hit.as_json() for hit in result.hits], ensure_ascii=False, indent=2)
            )
            return
        if not result.hits:
            self.stdout.write("Nothing was found.")
        for hit in result.hits:
            score = "  —  " if hit.similarity is None else f"{hit.similarity:.3f}"
            where = f" [{hit.document_name}]" if hit.document_name else ""
            self.stdout.write(
                f"{score}  {hit.agent_name or 'no agent'}{where}  {printable(hit.content)[:200]}"
            )


def printable(text: str) -> str:
    """One line without control characters, which a terminal would obey."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
