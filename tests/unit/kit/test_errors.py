from tidegate.kit.errors import FieldError, InvalidObjectError, TidegateError


def test_a_field_error_tells_path_expectation_and_value() -> None:
    assert str(FieldError("spec.a", "must be b", "c")) == "spec.a: must be b (got 'c')"
    assert str(FieldError("spec.a", "must be b", 0)) == "spec.a: must be b (got 0)"
    assert str(FieldError("spec.a", "required")) == "spec.a: required"
    assert str(FieldError("", "must be an object")) == "must be an object"


def test_a_refused_object_tells_all_its_errors() -> None:
    errors = (FieldError("spec.a", "required"), FieldError("spec.b", "must be c", "d"))
    refused = InvalidObjectError("Sidecar", "shop", "web", errors)
    assert isinstance(refused, TidegateError)
    assert refused.errors == errors
    assert str(refused) == "Sidecar shop/web is invalid: spec.a: required; spec.b: must be c (got 'd')"


def test_a_cluster_scoped_object_is_named_alone() -> None:
    assert str(InvalidObjectError("Node", "", "n1", ())).startswith("Node n1 is invalid")
