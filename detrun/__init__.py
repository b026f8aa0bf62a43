"""What people see of detrun: the command line, log readers, comparisons and renderers."""
