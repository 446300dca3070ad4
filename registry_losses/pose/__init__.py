"""From annotated persons to joints and fields, and from maps back to persons."""
