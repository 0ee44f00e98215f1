"""Both apps on this machine, four nodes: python run.py."""

from client_app import app as client_app
from flwr.simulation import run_simulation
from server_app import app as server_app

run_simulation(server_app, client_app, num_supernodes=4)
