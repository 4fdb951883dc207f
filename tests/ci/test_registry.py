"""What `make image-push` and `make promote` do, with an aws and a docker that only note what they were asked."""

import pytest

from charts.registry import main
from tests.ci.conftest import Programs

URL = "222233334444.dkr.ecr.us-east-1.amazonaws.com/fastapi-platform/staging"
COMMIT = 40 * "c"
DIGEST, OTHER = f"sha256:{64 * 'a'}", f"sha256:{64 * 'b'}"
NOT_THERE = "An error occurred (ImageNotFoundException) when calling the DescribeImages operation"


def push(url: str = URL) -> int:
    return main(["push", "--image", "fastapi-platform:dev", "--url", url, "--tag", COMMIT])


def promote() -> int:
    return main(["promote", "--url", URL, "--tag", COMMIT, "--digest", DIGEST])


def test_an_image_is_pushed_under_its_commit_and_its_digest_is_the_registrys(
    programs: Programs, capsys: pytest.CaptureFixture[str]
) -> None:
    programs.answer("aws ecr describe-images", err=NOT_THERE, status=254)
    programs.answer("aws ecr describe-images", f"{DIGEST}\n")
    programs.answer("aws ecr get-login-password", "a password\n")
    assert push() == 0
    assert capsys.readouterr().out == f"digest={DIGEST}\n"
    asked = [" ".join(call.split()[:3]) for call in programs.calls]
    assert asked == [
        "aws ecr describe-images",
        "aws ecr get-login-password",
        "docker login --username",
        "docker tag fastapi-platform:dev",
        f"docker push {URL}:{COMMIT}",
        "aws ecr describe-images",
    ]
    assert programs.given == ["a password"]
    assert not [call for call in programs.calls if "a password" in call]


def test_a_commit_that_was_pushed_before_stays_what_it_is(programs: Programs, capsys: pytest.CaptureFixture[str]) -> None:
    programs.answer("aws ecr describe-images", f"{DIGEST}\n")
    assert push() == 0
    assert capsys.readouterr().out == f"digest={DIGEST}\n"
    assert not [call for call in programs.calls if call.startswith("docker")]


def test_a_registry_that_refuses_is_not_taken_for_one_without_the_image(programs: Programs, capsys: pytest.CaptureFixture[str]) -> None:
    programs.answer("aws ecr describe-images", err="AccessDeniedException", status=254)
    assert push() == 1
    assert "AccessDeniedException" in capsys.readouterr().err
    assert len(programs.calls) == 1


@pytest.mark.parametrize("url", ["", "docker.io/library/python", f"https://{URL}", f"{URL}:tag"])
def test_what_is_no_repository_of_ecr_is_refused(programs: Programs, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert push(url) == 1
    assert "is no repository of ECR" in capsys.readouterr().err
    assert not programs.calls


def test_a_push_that_fails_is_a_failure(programs: Programs) -> None:
    programs.answer("aws ecr describe-images", err=NOT_THERE, status=254)
    programs.answer("docker push", err="denied", status=1)
    assert push() == 1


def test_an_image_that_passed_gets_a_second_tag(programs: Programs, capsys: pytest.CaptureFixture[str]) -> None:
    programs.answer("aws ecr describe-images", err=NOT_THERE, status=254)
    programs.answer("images[0].imageManifest", '{"schemaVersion": 2}\n')
    programs.answer("images[0].imageManifestMediaType", "application/vnd.oci.image.index.v1+json\n")
    assert promote() == 0
    assert capsys.readouterr().out == f"promoted=promoted-{COMMIT}\n"
    put = programs.calls[-1]
    assert put.startswith("aws ecr put-image --registry-id 222233334444 --region us-east-1 --repository-name fastapi-platform/staging ")
    assert f"--image-tag promoted-{COMMIT} --image-digest {DIGEST} " in put
    assert put.endswith('--image-manifest-media-type application/vnd.oci.image.index.v1+json --image-manifest {"schemaVersion": 2}')


def test_a_promotion_may_be_repeated(programs: Programs) -> None:
    programs.answer("aws ecr describe-images", f"{DIGEST}\n")
    assert promote() == 0
    assert len(programs.calls) == 1


def test_a_promotion_of_another_image_under_the_same_commit_is_refused(programs: Programs, capsys: pytest.CaptureFixture[str]) -> None:
    programs.answer("aws ecr describe-images", f"{OTHER}\n")
    assert promote() == 1
    assert "already" in capsys.readouterr().err
