"""The api floor: the operation table, its dispatcher, the problem mapping and OpenAPI."""

from certctl_core.api.dispatch import Answer, Dispatcher, HTTPRequest
from certctl_core.api.openapi import openapi
from certctl_core.api.problems import Problem, problem
from certctl_core.api.table import OperationTable

__all__ = [
    "Answer",
    "Dispatcher",
    "HTTPRequest",
    "OperationTable",
    "Problem",
    "openapi",
    "problem",
]
