"""What the shop's people see and mend: behind the commands and the back office, above the verbs."""
