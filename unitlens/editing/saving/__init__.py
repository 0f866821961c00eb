"""Results of interventions as files: records, counts, tables and images, written and read back."""
