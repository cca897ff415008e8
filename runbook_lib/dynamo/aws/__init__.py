"""What botocore's data and the user's AWS configuration say, before anything is asked of AWS."""
