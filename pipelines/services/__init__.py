"""The services beside the stages, on loopback: Airflow, MLflow's pages, the report. `stack` starts and stops them."""
