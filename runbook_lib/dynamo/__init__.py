"""The only code that talks to DynamoDB.

`session` opens a side (credentials, region, endpoint, account). `items` is the data path on raw DynamoDB JSON, `tables`
describes, creates, sets up and deletes tables, `backups` takes and restores backups; what a table is they read and write
as `structure` says. Below `items`: `batch_insert` inserts,
`requests` tries again, `rate_limiter` keeps to budgets and slows, `errors` says what a refused request means, `transport`
signs and posts, `http` is one connection. Only `transport` and `http` load botocore or urllib3, and they are imported
when the first side is opened.
"""
