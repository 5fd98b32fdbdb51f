"""Mutation test of the plan checker: change a workflow, run it, and compare failures with findings.

    documents   paths and references in a workflow file
    worlds      the original workflows, their tools, and what answers the calls
    mutations   the changes, as a table of rows
    schemas     what a tool's schema says about a path
    oracle      runs a changed workflow: what fails, and whether the schemas show it
    trial       many changes by a seed, judged and counted

The oracle never asks the checker: `jsonschema` checks arguments, and `schemas` reads schemas. Only
the parsers of references and expressions are the package's own.
"""
