"""Who is told of runs beside the run directory: TensorBoard, MLflow, Weights & Biases, one class each."""
