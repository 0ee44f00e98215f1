"""Caldarola, Caputo and Ciccone, "Improving generalization in federated learning by seeking flat minima", ECCV 2022.

The question: where clients' data differ, the federated model ends in a sharp minimum and generalises badly. Do clients
that train with SAM or ASAM (FedSAM, FedASAM), and the average of the server's models under a cyclic learning rate
(SWA), make it flatter and better, and close the gap to centralised training?

| key | cpu | gpu | paper |
|---|---|---|---|
| data.name | digits | cifar10 | cifar10 |
| data.clients | 100 | 100 | 100 |
| data.partition | dirichlet | file | file |
| data.augment | none | crop_flip | crop_flip |
| model.name | mlp | cnn | cnn |
| client.lr | 0.1 | 0.01 | 0.01 |
| client.batch_size | 2 | 64 | 64 |
| client.epochs | 1 | 1 | 1 |
| client.weight_decay | 0 | 0.0004 | 0.0004 |
| engine.threads | 1 | 0 | 0 |
| rounds | 150 | 10000 | 10000 |
| cohort | 5 | 5 | 5 |
| evaluate_every | 10 | 100 | 100 |
| evaluate_last | 20 | 100 | 100 |
| seed | 1 | 1 | 1 |

| runs | keys | presets |
|---|---|---|
| *alpha {alpha}* | data.alpha={alpha} | cpu |
| fed*alpha {alpha}*, scaffold alpha {alpha} | data.split_file=fedsam_eccv2022.npz:alpha_{alpha:.2f} | gpu, paper |
| fed*alpha 1000* | data.partition=dirichlet data.split_file=- data.alpha=1000 | paper |
| cifar100 * | data.name=cifar100 data.partition=dirichlet rounds=20000 | gpu, paper |
| cifar100 *alpha {alpha}* | data.alpha={alpha} | gpu, paper |
| *fedsam*, *sam central | client.name=sam | cpu, gpu, paper |
| *fedsam*, *sam central | client.rho=0.2 | cpu |
| fedsam* | client.rho=0.1 | gpu, paper |
| fedsam* alpha 100*, sam central | client.rho=0.02 | gpu, paper |
| fedsam* alpha 1, fedsam* alpha 1 *, fedsam* alpha 10, fedsam* alpha 10 * | client.rho=0.02 | paper |
| cifar100 fedsam* | client.rho=0.02 | gpu |
| cifar100 fedsam*, cifar100 sam central | client.rho=0.05 | paper |
| cifar100 fedsam* alpha 0, cifar100 fedsam* alpha 0 * | client.rho=0.02 | paper |
| *fedasam*, *asam central | client.name=asam | cpu, gpu, paper |
| *fedasam*, *asam central | client.rho=0.7 | cpu |
| fedasam* | client.rho=0.7 | gpu, paper |
| fedasam* alpha 100*, asam central | client.rho=0.05 | gpu, paper |
| fedasam* alpha 1, fedasam* alpha 1 *, fedasam* alpha 10, fedasam* alpha 10 * | client.rho=0.05 | paper |
| cifar100 fedasam* | client.rho=0.5 | gpu, paper |
| cifar100 asam central | client.rho=0.5 | paper |
| *+swa* | average.name=swa | cpu, gpu, paper |
| *+swa* | average.cycle=5 average.lr_end=0.001 | cpu |
| * 10 a round | cohort=10 | cpu, gpu, paper |
| * 20 a round | cohort=20 | cpu, gpu, paper |
| * mixup | data.augment=mixup | cpu, gpu, paper |
| * mixup | data.mixup_after=none | cpu |
| * cutout | data.augment=cutout | cpu, gpu, paper |
| * cutout | data.cutout_size=4 data.cutout_after=none | cpu |
| * leak | data.name=fedsam.experiments.caldarola2022.leak:LeakyDigits | cpu |
| * leak | data.fedsam_leak=true | gpu, paper |
| *fedprox * | server.name=fedprox | cpu, gpu, paper |
| *fedavgm * | server.name=fedavgm | cpu, gpu, paper |
| *fedavgm * | server.beta=0.5 | cpu |
| *scaffold * | server.name=scaffold | cpu, gpu, paper |
| *feddyn * | server.name=feddyn | cpu, gpu, paper |
| *feddyn * | server.alpha=0.01 | cpu |
| *fedgloss * | server.name=fedgloss client.name=sam | cpu, gpu, paper |
| *fedgloss * | client.rho=0.1 | cpu |
| fedgloss * | client.rho=0.15 | gpu, paper |
| cifar100 fedgloss * | client.rho=0.2 server.rho=0.01 server.beta=100 | paper |
| * central | data.clients=1 cohort=1 data.partition=iid client.batch_size=64 evaluate_last=20 | cpu, gpu, paper |
| * central | rounds=200 evaluate_every=20 | gpu, paper |
| shapes * | data.name=shapes data.clients=24 data.partition=within_groups data.unseen=2 | cpu |
| shapes * | model.name=unet model.width=8 client.batch_size=5 client.epochs=4 client.momentum=0.9 | cpu |
| shapes * | rounds=200 cohort=4 evaluate_every=5 evaluate_last=1 engine.name=loop | cpu |
| shapes * | geometry.every=200 geometry.images=120 | cpu |
| shapes fedasam* | client.rho=0.03 | cpu |
| shapes fedasam+swa | average.lr_end=0.0001 | cpu |
| cityscapes *, country * | data.partition=natural model.name=bisenetv2 model.norm=batch client.momentum=0.9 | gpu, paper |
| cityscapes *, country * | task.name=segmentation task.hardest=0.25 task.auxiliary_weight=1 | gpu, paper |
| cityscapes *, country * | client.batch_size=16 client.epochs=2 rounds=-/400/1600 evaluate_every=50 | gpu, paper |
| cityscapes * | data.name=cityscapes data.users=heterogeneous data.size=-/256x512/512x1024 | gpu, paper |
| cityscapes * | data.augment=colour_jitter data.jitter_after=scale_crop data.scale_most=1.5 | gpu, paper |
| cityscapes * | client.lr=0.05 client.weight_decay=0.0005 | gpu, paper |
| country * | data.name=idda data.size=-/256x464/512x928 data.augment=scale_crop | gpu, paper |
| country * | data.unseen=T07_CN_A,T07_CN_B,T07_CN_J,T07_CN_V,T07_CS_A,T07_CS_B,T07_CS_J,T07_CS_M,T07_CS_V,T07_HRN_A,T07_HRN_B,T07_HRN_J,T07_HRN_M,T07_HRN_V | gpu, paper |
| country * | client.lr=0.1 client.weight_decay=0 | gpu, paper |
| landmarks * | data.name=landmarks data.partition=natural data.size=-/96/224 model.name=mobilenet_v2 | gpu, paper |
| landmarks * | client.lr=0.1 client.weight_decay=0 rounds=-/1000/5000 cohort=10 evaluate_every=50 | gpu, paper |
| cityscapes fedsam*, country fedsam*, landmarks fedsam* | client.rho=0.02 | paper |
| cityscapes fedasam*, country fedasam*, landmarks fedasam* | client.rho=0.05 | gpu, paper |

A run's name says the method, alpha of the Dirichlet distribution (0: each client has one class), clients per round
where they are not 5, and what else is done. Figures are means over the last rounds: 100, in `cpu` and for central runs
20. Radii: in `cpu` SAM 0.2 and ASAM 0.7 at every alpha; for CIFAR-10 0.1 and 0.7 up to alpha 0.5, and 0.02 and 0.05
above and for central runs; for CIFAR-100 0.02 at alpha 0 and 0.05 above, and 0.5; eta 0.2. FedGloSS has SAM clients, of
radius 0.1 in `cpu`, 0.15 for CIFAR-10 and 0.2 for CIFAR-100. Seeds: 3.

Cells of `paper`, for CIFAR-10 (10,000 rounds) and CIFAR-100 (20,000) alike: all six methods x alpha 0, 0.05, 0.1, 0.2,
0.5, 1, 10, 100, 1000 x 5, 10 and 20 clients per round; all six methods with mixup and with cutout, and the five methods
compared with, at three alphas, those for which radii are known (0, 0.05, 100; for CIFAR-100 0, 0.5, 1000); three
centralised references. Eigenvalues are measured at every alpha with 5 clients per round, corruptions
and surfaces at alpha 0. `gpu` has the same number of rounds and fewer cells: alpha 0, 0.5, 100 with 5 clients, 10 and
20 clients, mixup and cutout for FedAvg and FedASAM + SWA at alpha 0, the methods compared with at alpha 0, and of
CIFAR-100 the six methods at alpha 0.

Other tasks. `cityscapes` is semantic segmentation of Cityscapes, `country` of IDDA with clients from six towns, tested
in these and in a seventh that no client has (`unseen_miou`): the domain generalisation. The paper's own settings could
not be found; these are FedDrive's (Fantauzzo et al., IROS 2022, by some of the same authors) as its code has them:
BiSeNetV2 with BatchNorm and auxiliary heads of weight 1, the hardest quarter of the pixels, 1,600 rounds, 5 clients a
round, 2 epochs in batches of 16, momentum 0.9. Its learning rate is called polynomial, but the decay begins anew every
round and would take 10,000 of them, so it is constant to four digits, and here altogether. FedDrive keeps a quarter of
all pixels, we of the labelled ones; it has dropout in the heads and trains in mixed precision, we do neither; it shows
each image of Cityscapes mirrored beside as it is. Clients of Cityscapes are its heterogeneous ones: put
`data/cityscapes/data/heterogeneous` of a copy of its repository beside `leftImg8bit`; those of `country` are the
domains. `landmarks` is Landmarks-User-160k, a client a user, with MobileNetV2 and GroupNorm as in Hsu et al., ECCV 2020;
all else there is our choice. Radii of all three are our choice too, those of CIFAR-10 at alpha 100 (0.02 and 0.05).
`paper` has all six methods, `gpu` FedAvg, FedASAM and FedASAM + SWA on smaller images and for fewer rounds; none of
these runs has been made yet. `shapes` of `cpu` is drawn shapes in six domains, with two that no client has, as in
`python -m fedsam.experiments.shapes`; it came after what is measured below, no claim is put to it, and what came out
of that demonstration is in docs/results/tasks.md. So everything that the abstract names is covered by runs: large-scale
classification, segmentation, domain generalisation.

The CIFAR-10 splits are the authors' own, from alpha 0 to 100, as arrays of positions `alpha_0.00`, ... in a file
`fedsam_eccv2022.npz`, which is looked for in the current directory, in the data sets' folder (`data.root`, that is
$FEDSAM_DATA or ~/.cache/fedsam) and in `cifar10/splits` below that. It is made of the file lists in a copy of their
repository, and put into the last of these places, by

    git clone https://github.com/debcaldarola/fedsam theirs
    python -m fedsam.experiments.caldarola2022.splits theirs

In their lists position 10100 is missing; it is given to the client that lacks one.

Deviations. `paper`: the paper's tables could not be reached, so no published figure is quoted, and for most claims no
place. Settings are those of the authors' script for CIFAR-10 at alpha 0 and 0.05; radii at alpha 100 and for CIFAR-100
at 0, 0.5 and 1000 are those of a later comparison on the same splits (Official-FedGF); at other alphas they are ours to
choose among these. There is no split of theirs for CIFAR-10 at alpha 1000, and their lists for CIFAR-100 (alpha 0, 0.5,
1000) name images as the original archive does, without a position: these splits are drawn anew from the same
distribution. SWA on CIFAR-100 is set as on CIFAR-10 (theirs is unknown). SWA averages at the end of each cycle of the
learning rate, as the authors' comments say; their released code averages at its beginning
(`average.capture=as-released`). Central runs last 200 epochs; the authors' number is unknown. Clients are sampled by
the run's seed, in the released code by the round alone. FedProx, FedAvgM and FedDyn are at the values of their own
papers, on both data sets. FedGloSS is at those of its own paper except that its server's radius is the same from the
first round, where theirs is warmed up from 0.001 over the first 2,000 rounds (CIFAR-100: 15,000). AdaBest is not
implemented; Landmarks, Cityscapes and IDDA are left out. mixup draws a weight for each sample. Eigenvalues are of the
loss on training images without augmentation, the largest algebraically.

The authors' files leak: their script saves training and test images under the same names, so that 1,006 of the training
images are replaced by test images, a tenth of the test set. `data.fedsam_leak=true` does the same. If all of these
images were learned by heart, test accuracy a would become a + 0.1006 (1 - a).

How much it changes was measured over the first 150 rounds alone, FedAvg at alpha 100 without and with the leak:

    fedsam run data.name=cifar10 data.partition=file data.split_file=fedsam_eccv2022.npz:alpha_100.00 data.clients=100 \\
      data.augment=crop_flip model.name=cnn client.lr=0.01 client.batch_size=64 client.epochs=1 client.weight_decay=4e-4 \\
      cohort=5 rounds=150 evaluate_every=10 seed=1 engine.precision=bf16 engine.threads=1 data.fedsam_leak=true

Test accuracy, mean of the five evaluations after round 100: 40.17 % without, 40.27 % with the leak; after round 150:
42.14 % and 42.25 %, of which on the 1,006 test images that leak 43.54 % both times, on the others 41.98 % and 42.11 %.
One seed (1), one core of an AMD EPYC, torch 2.15.0, 5.1 and 4.7 minutes; the images were JPEG copies of CIFAR-10,
slightly lossy. An image was seen 7.5 times by then; in 10,000 rounds it is seen 500 times.
So no difference shows at this length, and what it is at full length is not known: `gpu` and `paper` have that pair.

`cpu`: an MLP of one hidden layer of 64 units on the handwritten digits of scikit-learn, 100 clients of 14 images, which
make 7 steps a round (8 in the paper); 150 rounds; SWA from round 113, cycles of 5, down to a hundredth of the learning
rate, as in the paper. alpha 0, 0.05, 0.5, 10, 100; 10 and 20 clients per round, mixup and cutout for FedAvg and FedASAM
+ SWA at alpha 0 alone, where also the methods compared with are; no CIFAR-100. Its leak is by the same rule: 45
training images become the test images at the same positions, 11 % of the test set. The learning rate, one for all
methods as in the paper, and the radii were chosen with seed 0, which is not among the seeds: of 0.1 and 0.2 the one at
which FedAvg, FedSAM and FedASAM with the best of three radii have the higher mean accuracy at alpha 0 and 100. FedAvg
alone would do better at 0.3 (seed 0, alpha 0: 92.5 % in place of 91.4 %; FedSAM 92.9 %, FedASAM 93.6 % at 0.1). The
numbers of FedProx (0.01 of 0.01, 0.1, 1), FedAvgM (0.5 of 0.5, 0.9), FedDyn (0.01 of 0.01, 0.1, 1) and FedGloSS (beta
10 of 1, 10, 100) are the best at alpha 0 with that seed. Test accuracies are in steps of 1/397. Accuracies on corrupted
images, and the clean ones they are compared with, are those of the model after the last round, where FedAvg at alpha 0
has 94.1 %, two points more than in the mean over the last rounds.

What the `cpu` preset shows: heterogeneity costs accuracy, and FedASAM with SWA wins most of it back, at 5, 10 and 20
clients a round, on top of mixup and of cutout; SWA gains with and without ASAM; SAM and ASAM end in flatter minima at
every alpha, and corruption of the test images costs FedASAM with SWA less. Clients that are alike gain nothing that
three seeds could show. lambda1/lambda5 is about 2.5 everywhere. Against the best of five other methods, and of four
without FedGloSS, it is not decided.

<!-- measured -->
| claim | published | measured | ours | seeds | holds |
|---|---|---|---|---|---|
| Heterogeneity costs FedAvg accuracy | not available (abstract) | accuracy of fedavg alpha 100 less that of fedavg alpha 0; above 0 | 0.0542 ± 0.012 | 1, 2, 3 | yes |
| The less alike the clients, the sharper the minimum that FedAvg ends in | not available | λ1 of fedavg alpha 0 over that of fedavg alpha 100; above 1 | 4.08 ± 3.7 | 1, 2, 3 | undecided |
| FedSAM ends in a flatter minimum | not available | λ1 of fedsam alpha 0 over that of fedavg alpha 0; below 1 | 0.397 ± 0.15 | 1, 2, 3 | yes |
| FedASAM ends in a flatter minimum | not available | λ1 of fedasam alpha 0 over that of fedavg alpha 0; below 1 | 0.331 ± 0.2 | 1, 2, 3 | yes |
| With FedASAM and SWA the largest eigenvalue stands out less from the others | not available | λ1/λ5 of fedasam+swa alpha 0 over that of fedavg alpha 0; below 1 | 1.11 ± 0.4 | 1, 2, 3 | undecided |
| The loss around the model of FedASAM and SWA is flatter | not available (Figure 1) | mean rise of the training loss over a random plane around fedasam+swa alpha 0, over that around fedavg alpha 0; below 1 | 0.583 ± 0.12 | 1, 2, 3 | yes |
| FedSAM generalises better | not available (CIFAR-10 table, alpha 0) | accuracy of fedsam alpha 0 less that of fedavg alpha 0; above 0 | 0.013 ± 0.016 | 1, 2, 3 | undecided |
| FedASAM generalises better | not available (CIFAR-10 table, alpha 0) | accuracy of fedasam alpha 0 less that of fedavg alpha 0; above 0 | 0.0118 ± 0.005 | 1, 2, 3 | yes |
| SWA improves FedAvg | not available (CIFAR-10 table, alpha 0) | accuracy of fedavg+swa alpha 0 less that of fedavg alpha 0; above 0 | 0.0246 ± 0.0068 | 1, 2, 3 | yes |
| SWA improves FedASAM | not available (CIFAR-10 table, alpha 0) | accuracy of fedasam+swa alpha 0 less that of fedasam alpha 0; above 0 | 0.0304 ± 0.013 | 1, 2, 3 | yes |
| FedASAM with SWA is better on heterogeneous clients | not available (abstract) | accuracy of fedasam+swa alpha 0 less that of fedavg alpha 0; above 0 | 0.0422 ± 0.015 | 1, 2, 3 | yes |
| It is better on homogeneous clients | not available (abstract) | accuracy of fedasam+swa alpha 100 less that of fedavg alpha 100; above 0 | 0.00214 ± 0.0098 | 1, 2, 3 | undecided |
| It is better with 10 clients a round | not available (CIFAR-10 table) | accuracy of fedasam+swa alpha 0 10 a round less that of fedavg alpha 0 10 a round; above 0 | 0.0339 ± 0.0063 | 1, 2, 3 | yes |
| It is better with 20 clients a round | not available (CIFAR-10 table) | accuracy of fedasam+swa alpha 0 20 a round less that of fedavg alpha 0 20 a round; above 0 | 0.0196 ± 0.0052 | 1, 2, 3 | yes |
| It helps to bridge the gap to centralised training | not available (abstract; that half is enough is our limit) | share of the gap in accuracy between fedavg alpha 0 and sgd central closed by fedasam+swa alpha 0; above 0.5 | 0.753 ± 0.23 | 1, 2, 3 | yes |
| It is better than other methods | not available (comparison table, with FedGloSS, which came later) | accuracy of fedasam+swa alpha 0 less that of the best of fedprox alpha 0, scaffold alpha 0, fedavgm alpha 0, feddyn alpha 0, fedgloss alpha 0; above 0 | -0.00621 ± 0.028 | 1, 2, 3 | undecided |
| It is better than those before it | not available (comparison table) | accuracy of fedasam+swa alpha 0 less that of the best of fedprox alpha 0, scaffold alpha 0, fedavgm alpha 0, feddyn alpha 0; above 0 | 0.00193 ± 0.01 | 1, 2, 3 | undecided |
| It gains more than mixup or cutout | not available (rows with mixup and cutout) | accuracy of fedasam+swa alpha 0 less that of the best of fedavg alpha 0 mixup, fedavg alpha 0 cutout; above 0 | 0.0377 ± 0.012 | 1, 2, 3 | yes |
| It gains on top of mixup | not available (rows with mixup) | accuracy of fedasam+swa alpha 0 mixup less that of fedavg alpha 0 mixup; above 0 | 0.034 ± 0.018 | 1, 2, 3 | yes |
| It gains on top of cutout | not available (rows with cutout) | accuracy of fedasam+swa alpha 0 cutout less that of fedavg alpha 0 cutout; above 0 | 0.0723 ± 0.042 | 1, 2, 3 | yes |
| It is more robust to corrupted test images | not available (corrupted CIFAR) | accuracy of fedasam+swa alpha 0 less that of fedavg alpha 0, means over six corruptions at five severities; above 0 | 0.029 ± 0.059 | 1, 2, 3 | undecided |
| Corruption costs it less of its accuracy on clean images | not available (ours: the claim above is also met by being better on clean images) | drop in accuracy from clean images of fedasam+swa alpha 0 less that of fedavg alpha 0, means over six corruptions at five severities; below 0 | -0.00462 ± 0.0035 | 1, 2, 3 | yes |
| The leak of the released files raises accuracy | not available (the authors' files; not a claim of the paper) | accuracy of fedavg alpha 100 leak less that of fedavg alpha 100; above 0 | 0.00269 ± 0.0068 | 1, 2, 3 | undecided |

Preset cpu, seeds 1, 2, 3; ours: mean and 95 % interval over seeds. 144 runs, 11.9 minutes of training; wall time, with measuring: 12.8 minutes; 1 core of AMD EPYC, torch 2.15.0.
<!-- end of measured -->

<!-- tables -->
digits: test accuracy (%), mean over the last rounds, by method, clients per round and alpha

| digits, accuracy | alpha 0 | alpha 0.05 | alpha 0.5 | alpha 10 | alpha 100 |
|---|---|---|---|---|---|
| fedavg | 92.07 ± 0.78 | 94.04 ± 0.39 | 95.62 ± 0.85 | 96.93 ± 0.68 | 97.49 ± 0.30 |
| fedsam | 93.38 ± 0.44 | 94.78 ± 0.73 | 96.43 ± 0.58 | 97.58 ± 0.21 | 97.51 ± 0.15 |
| fedasam | 93.26 ± 0.89 | 94.71 ± 0.69 | 96.44 ± 0.49 | 97.41 ± 0.70 | 97.36 ± 0.08 |
| fedavg+swa | 94.54 ± 0.84 | 96.38 ± 0.11 | 96.59 ± 1.01 | 97.05 ± 0.67 | 97.98 ± 0.25 |
| fedsam+swa | 95.89 ± 0.34 | 97.02 ± 0.37 | 97.52 ± 0.47 | 97.64 ± 0.14 | 97.80 ± 0.32 |
| fedasam+swa | 96.30 ± 0.67 | 97.15 ± 0.32 | 97.20 ± 0.81 | 97.74 ± 0.73 | 97.71 ± 0.22 |
| fedavg, 10 a round | 93.45 ± 1.42 | - | - | - | - |
| fedasam+swa, 10 a round | 96.83 ± 1.19 | - | - | - | - |
| fedavg, 20 a round | 95.06 ± 0.29 | - | - | - | - |
| fedasam+swa, 20 a round | 97.02 ± 0.45 | - | - | - | - |

digits: largest eigenvalue of the Hessian

| digits, λ1 | alpha 0 | alpha 0.05 | alpha 0.5 | alpha 10 | alpha 100 |
|---|---|---|---|---|---|
| fedavg | 5.12 ± 1.21 | 3.85 ± 0.58 | 2.38 ± 0.53 | 1.57 ± 0.30 | 1.29 ± 0.15 |
| fedsam | 2.00 ± 0.34 | 1.82 ± 0.68 | 0.91 ± 0.17 | 0.51 ± 0.12 | 0.57 ± 0.27 |
| fedasam | 1.64 ± 0.22 | 1.51 ± 0.56 | 0.66 ± 0.06 | 0.46 ± 0.10 | 0.43 ± 0.07 |
| fedavg+swa | 4.97 ± 0.57 | 4.13 ± 0.08 | 2.41 ± 0.06 | 1.46 ± 0.16 | 1.37 ± 0.09 |
| fedsam+swa | 1.90 ± 0.19 | 1.51 ± 0.16 | 0.90 ± 0.05 | 0.52 ± 0.05 | 0.58 ± 0.06 |
| fedasam+swa | 1.58 ± 0.12 | 1.25 ± 0.14 | 0.74 ± 0.03 | 0.46 ± 0.06 | 0.49 ± 0.04 |

digits: largest eigenvalue over the fifth (`-` also where the fifth is not above 0)

| digits, λ1/λ5 | alpha 0 | alpha 0.05 | alpha 0.5 | alpha 10 | alpha 100 |
|---|---|---|---|---|---|
| fedavg | 2.43 ± 0.42 | 2.17 ± 0.30 | 2.37 ± 0.53 | 2.65 ± 0.48 | 2.53 ± 0.29 |
| fedsam | 2.47 ± 0.56 | 2.50 ± 0.39 | 2.63 ± 0.21 | 2.34 ± 0.45 | 2.48 ± 0.78 |
| fedasam | 2.40 ± 0.80 | 2.46 ± 0.36 | 2.63 ± 0.11 | 2.50 ± 0.42 | 2.29 ± 0.24 |
| fedavg+swa | 2.19 ± 0.22 | 2.49 ± 0.07 | 2.24 ± 0.17 | 2.41 ± 0.09 | 2.48 ± 0.26 |
| fedsam+swa | 2.39 ± 0.20 | 2.58 ± 0.06 | 2.48 ± 0.09 | 2.31 ± 0.11 | 2.35 ± 0.26 |
| fedasam+swa | 2.65 ± 0.09 | 2.76 ± 0.05 | 2.79 ± 0.13 | 2.54 ± 0.04 | 2.54 ± 0.11 |

digits: accuracy (%) on corrupted test images, alpha 0, after the last round

| digits, corruption and severity | fedavg | fedsam | fedasam | fedavg+swa | fedsam+swa | fedasam+swa |
|---|---|---|---|---|---|---|
| none | 94.12 ± 2.14 | 95.89 ± 1.52 | 95.72 ± 1.76 | 95.30 ± 0.52 | 96.14 ± 0.29 | 96.56 ± 0.38 |
| noise 1 | 93.87 ± 2.04 | 95.55 ± 1.39 | 95.55 ± 1.91 | 94.63 ± 0.29 | 95.55 ± 0.38 | 96.39 ± 0.38 |
| noise 2 | 93.70 ± 2.06 | 95.55 ± 1.77 | 95.30 ± 1.89 | 94.71 ± 0.67 | 96.22 ± 0.25 | 96.64 ± 0.38 |
| noise 3 | 93.70 ± 2.20 | 94.79 ± 0.63 | 94.79 ± 1.05 | 93.87 ± 0.15 | 95.63 ± 0.38 | 95.72 ± 0.50 |
| noise 4 | 93.62 ± 1.79 | 94.79 ± 1.39 | 94.37 ± 2.17 | 93.95 ± 0.44 | 94.88 ± 0.15 | 95.63 ± 0.15 |
| noise 5 | 93.20 ± 1.90 | 94.46 ± 2.31 | 94.46 ± 1.51 | 94.96 ± 0.50 | 95.55 ± 0.81 | 95.97 ± 0.50 |
| blur 1 | 94.29 ± 2.29 | 95.47 ± 1.51 | 95.21 ± 2.00 | 95.05 ± 0.52 | 95.63 ± 0.15 | 96.22 ± 0.25 |
| blur 2 | 91.02 ± 3.13 | 93.12 ± 2.59 | 93.03 ± 2.77 | 92.19 ± 0.50 | 93.28 ± 0.29 | 94.29 ± 0.15 |
| blur 3 | 89.25 ± 2.29 | 90.01 ± 3.01 | 90.01 ± 3.29 | 90.68 ± 1.15 | 91.94 ± 0.44 | 92.53 ± 0.15 |
| blur 4 | 86.23 ± 3.19 | 86.90 ± 3.93 | 87.99 ± 4.28 | 87.49 ± 1.71 | 89.76 ± 1.02 | 91.02 ± 0.15 |
| blur 5 | 76.57 ± 2.06 | 77.75 ± 6.44 | 79.01 ± 5.72 | 79.60 ± 2.72 | 80.77 ± 1.29 | 83.29 ± 0.88 |
| contrast 1 | 94.12 ± 2.14 | 95.80 ± 1.64 | 95.80 ± 2.20 | 95.38 ± 0.63 | 96.31 ± 0.29 | 96.56 ± 0.38 |
| contrast 2 | 94.21 ± 2.20 | 95.80 ± 1.64 | 95.80 ± 2.04 | 95.05 ± 0.38 | 96.47 ± 0.67 | 96.64 ± 0.38 |
| contrast 3 | 94.04 ± 2.29 | 95.89 ± 1.64 | 95.89 ± 2.14 | 94.79 ± 0.15 | 96.31 ± 0.73 | 96.73 ± 0.50 |
| contrast 4 | 93.70 ± 2.63 | 95.80 ± 2.05 | 95.89 ± 2.20 | 94.63 ± 0.52 | 96.22 ± 0.67 | 96.89 ± 0.38 |
| contrast 5 | 91.18 ± 2.72 | 93.53 ± 3.57 | 94.54 ± 2.92 | 92.11 ± 1.64 | 94.63 ± 1.27 | 95.55 ± 0.38 |
| brightness 1 | 93.95 ± 2.48 | 95.80 ± 1.27 | 95.80 ± 1.68 | 95.63 ± 0.29 | 96.47 ± 0.44 | 96.81 ± 0.29 |
| brightness 2 | 93.87 ± 2.81 | 95.63 ± 0.81 | 95.63 ± 1.16 | 95.55 ± 0.52 | 96.81 ± 0.52 | 96.89 ± 0.15 |
| brightness 3 | 93.95 ± 3.06 | 95.13 ± 1.64 | 95.63 ± 0.77 | 95.30 ± 0.73 | 96.47 ± 0.87 | 96.56 ± 0.29 |
| brightness 4 | 93.12 ± 3.01 | 94.63 ± 2.29 | 94.79 ± 1.02 | 94.54 ± 0.77 | 95.47 ± 0.91 | 95.89 ± 0.52 |
| brightness 5 | 91.18 ± 1.82 | 93.53 ± 2.04 | 93.79 ± 1.29 | 93.70 ± 0.67 | 94.54 ± 0.88 | 94.96 ± 0.50 |
| pixelate 1 | 90.26 ± 4.45 | 91.77 ± 2.69 | 91.60 ± 2.14 | 91.94 ± 1.82 | 92.95 ± 0.44 | 93.53 ± 0.88 |
| pixelate 2 | 90.26 ± 4.45 | 91.77 ± 2.69 | 91.60 ± 2.14 | 91.94 ± 1.82 | 92.95 ± 0.44 | 93.53 ± 0.88 |
| pixelate 3 | 89.25 ± 0.38 | 90.18 ± 1.10 | 89.50 ± 1.71 | 88.16 ± 0.25 | 89.76 ± 0.15 | 91.02 ± 0.15 |
| pixelate 4 | 89.25 ± 0.38 | 90.18 ± 1.10 | 89.50 ± 1.71 | 88.16 ± 0.25 | 89.76 ± 0.15 | 91.02 ± 0.15 |
| pixelate 5 | 87.74 ± 3.19 | 87.07 ± 3.17 | 87.66 ± 2.90 | 90.26 ± 2.76 | 90.93 ± 1.53 | 91.77 ± 1.02 |
| jpeg 1 | 94.12 ± 2.38 | 95.72 ± 1.76 | 95.38 ± 2.17 | 94.96 ± 0.67 | 96.14 ± 0.15 | 96.56 ± 0.29 |
| jpeg 2 | 94.54 ± 2.05 | 95.72 ± 1.33 | 95.55 ± 1.68 | 94.71 ± 0.44 | 96.31 ± 0.52 | 96.56 ± 0.81 |
| jpeg 3 | 94.37 ± 2.34 | 95.97 ± 1.57 | 95.55 ± 1.96 | 95.21 ± 0.25 | 96.05 ± 0.38 | 96.64 ± 0.77 |
| jpeg 4 | 94.12 ± 2.34 | 95.30 ± 1.02 | 95.38 ± 1.43 | 94.29 ± 0.38 | 95.47 ± 0.25 | 95.97 ± 0.25 |
| jpeg 5 | 94.46 ± 2.20 | 95.47 ± 2.00 | 95.38 ± 2.39 | 94.54 ± 0.38 | 95.55 ± 1.16 | 96.31 ± 0.38 |
| mean | 91.91 ± 2.24 | 93.30 ± 1.78 | 93.35 ± 1.90 | 92.93 ± 0.52 | 94.16 ± 0.18 | 94.80 ± 0.13 |

digits: drop (points) from the accuracy on clean test images, alpha 0, after the last round

| digits, drop | fedavg | fedsam | fedasam | fedavg+swa | fedsam+swa | fedasam+swa |
|---|---|---|---|---|---|---|
| noise | 0.50 ± 0.25 | 0.86 ± 0.35 | 0.82 ± 0.19 | 0.87 ± 0.50 | 0.57 ± 0.31 | 0.49 ± 0.24 |
| blur | 6.65 ± 0.33 | 7.24 ± 2.08 | 6.67 ± 2.00 | 6.30 ± 0.87 | 5.86 ± 0.55 | 5.09 ± 0.52 |
| contrast | 0.67 ± 0.37 | 0.52 ± 0.79 | 0.13 ± 1.04 | 0.91 ± 0.79 | 0.15 ± 0.35 | 0.08 ± 0.23 |
| brightness | 0.91 ± 0.49 | 0.94 ± 1.35 | 0.59 ± 1.10 | 0.35 ± 0.78 | 0.18 ± 0.99 | 0.34 ± 0.58 |
| pixelate | 4.77 ± 0.60 | 5.69 ± 0.18 | 5.74 ± 0.27 | 5.21 ± 1.30 | 4.87 ± 0.48 | 4.38 ± 0.46 |
| jpeg | -0.20 ± 0.22 | 0.25 ± 0.31 | 0.27 ± 0.31 | 0.55 ± 0.33 | 0.24 ± 0.63 | 0.15 ± 0.05 |
| severity 1 | 0.69 ± 0.46 | 0.87 ± 0.38 | 0.83 ± 0.34 | 0.70 ± 0.52 | 0.63 ± 0.43 | 0.55 ± 0.19 |
| severity 2 | 1.19 ± 0.66 | 1.29 ± 0.32 | 1.23 ± 0.15 | 1.27 ± 0.55 | 0.80 ± 0.47 | 0.80 ± 0.21 |
| severity 3 | 1.69 ± 0.17 | 2.23 ± 0.26 | 2.16 ± 0.09 | 2.29 ± 0.41 | 1.78 ± 0.32 | 1.69 ± 0.30 |
| severity 4 | 2.45 ± 0.05 | 2.95 ± 0.19 | 2.73 ± 0.08 | 3.12 ± 0.44 | 2.55 ± 0.41 | 2.16 ± 0.40 |
| severity 5 | 5.07 ± 0.51 | 5.58 ± 1.24 | 4.91 ± 0.38 | 4.44 ± 0.93 | 4.14 ± 0.74 | 3.58 ± 0.57 |
| mean | 2.22 ± 0.15 | 2.58 ± 0.34 | 2.37 ± 0.14 | 2.36 ± 0.56 | 1.98 ± 0.45 | 1.75 ± 0.29 |

digits: test accuracy (%), mean over the last rounds, with mixup and cutout

| digits, augmentation | alpha 0 |
|---|---|
| fedavg | 92.07 ± 0.78 |
| fedavg, mixup | 92.53 ± 0.43 |
| fedavg, cutout | 87.09 ± 1.81 |
| fedasam+swa | 96.30 ± 0.67 |
| fedasam+swa, mixup | 95.93 ± 0.80 |
| fedasam+swa, cutout | 94.32 ± 0.90 |

digits: test accuracy (%), mean over the last rounds, beside other methods (AdaBest is not implemented)

| digits, comparison | alpha 0 |
|---|---|
| fedavg | 92.07 ± 0.78 |
| fedprox | 92.01 ± 0.81 |
| scaffold | 95.72 ± 0.78 |
| fedavgm | 93.76 ± 0.93 |
| feddyn | 95.83 ± 0.19 |
| fedgloss | 96.92 ± 0.45 |
| fedasam+swa | 96.30 ± 0.67 |

digits: test accuracy (%), mean over the last rounds, all data in one place

| digits, centralised | accuracy |
|---|---|
| sgd | 97.72 ± 0.03 |
| sam | 98.35 ± 0.22 |
| asam | 98.46 ± 0.23 |

digits: test accuracy (%), mean over the last rounds, with the leak of the authors' files, alpha 100

| digits, leak | without | with | difference |
|---|---|---|---|
| fedavg | 97.49 ± 0.30 | 97.76 ± 0.42 | 0.27 ± 0.27 |
| fedasam+swa | 97.71 ± 0.22 | 97.80 ± 0.34 | 0.09 ± 0.38 |
<!-- end of tables -->
"""

from __future__ import annotations

from fedsam.experiments.caldarola2022.answers import claims
from fedsam.experiments.caldarola2022.drawn import figures
from fedsam.experiments.caldarola2022.settings import SEEDS, runs
from fedsam.experiments.caldarola2022.tabled import tables

__all__ = ["SEEDS", "TITLE", "claims", "figures", "runs", "tables"]

TITLE = "Caldarola et al., Improving generalization in federated learning by seeking flat minima, ECCV 2022"
