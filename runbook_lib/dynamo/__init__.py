"""The only code that talks to DynamoDB.

`session` opens a side (credentials, region, endpoint, account), `wire` is the data path on raw DynamoDB JSON, `tables`
describes, creates and deletes tables, `pace` limits and slows. Below them, `faults` says what a failed request means
and `transport` signs and posts. Importing any of these loads neither boto3 nor botocore, except `transport`, which is
imported when the first side is opened.
"""
