"""What a table is, as data: read from DescribeTable, made from a mapping's `create`, compared. Pure."""
