"""CI's workflows, run on this machine: act runs the jobs, stand-ins do what the actions would."""
