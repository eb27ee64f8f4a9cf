"""What stages that train share with the door: parameters, fitting, judging."""
