"""The services beside the stages, on loopback: Airflow, MLflow's pages, the report, the shop. `stack` starts and stops them."""
