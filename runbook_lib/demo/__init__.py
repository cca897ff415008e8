"""The embedded world: a DynamoDB server with made-up data for four migrations."""
