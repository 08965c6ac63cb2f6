"""Audit bundles: a run as one zip, from which anybody can compute its report again without valign's services.

``build`` writes a bundle, ``publish`` keeps it and the model card in the artifact store, ``__main__``
verifies. All other modules are pure and go into the bundle as they are: they import only themselves, the
domain, the analysis, the shapes of documents, and the report's schema and projection.
"""
