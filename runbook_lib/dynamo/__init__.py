"""The only code that talks to DynamoDB.

`session` opens a side (credentials, region, endpoint, account), `wire` is the data path on raw DynamoDB JSON, `tables`
describes, creates and deletes tables, `pace` limits and slows. Below `wire`, `batch` inserts, `retries` tries again,
`faults` says what a failed request means, and `transport` signs and posts. Importing any of these loads neither boto3 nor
botocore, except `transport` and what is below it, which is imported when the first side is opened.
"""
