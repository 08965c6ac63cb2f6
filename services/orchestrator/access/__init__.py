"""Who may call: credentials, scopes and limits. Both faces of the API ask here before they dispatch."""
