"""Tools that come with the assistant; each agent's file says which it may use."""
