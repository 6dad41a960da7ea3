"""Write reports for programs: JSON and its schema, CSV, SARIF, JUnit XML, HAR, Parquet and Arrow tables."""
