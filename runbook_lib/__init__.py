"""Moves DynamoDB data: the package behind the notebooks and the `runbook` command.

Importing it loads nothing heavy: pandas, matplotlib, papermill and boto3 come when they are needed.
"""

__version__ = "0.1.0"

# The folders in the order of the work. Each imports only those before it and the files at the top of the package, and
# those files, `cli` and `commands` apart, import no folder. tests/unit/test_structure.py checks it.
FOLDERS = ("mapping", "dynamo", "run", "journal", "walk", "discover", "stages", "report", "notebook", "demo")
